"""A hundred captions in each of twelve languages, from the subjects, actions and places of `languages`.

Every subject is singular and fits every action, so that any combination is a correct sentence.
"""

from __future__ import annotations

from typing import NamedTuple


class Language(NamedTuple):
    """Parts of captions, separated by "/", and how they are joined.

    Attributes:
        order: format of a caption.
        subjects, actions, places: ten, ten and five.
    """

    order: str
    subjects: str
    actions: str
    places: str


LANGUAGES = {
    "English": Language(
        "{subject} {action} {place}.",
        "A young man/An old woman/A boy in a red T-shirt/A girl in a blue dress/A brown dog/A white cat/A fisherman/"
        "A waitress from the café/A man with a grey hat/A child with glasses",
        "runs/sleeps/jumps over a fence/looks at the camera/plays with a yellow ball/eats an apple/waits for the bus/"
        "climbs onto a rock/drinks water/laughs",
        "on the beach/in the park/in front of a green house/at the edge of the forest/beside a parked car",
    ),
    "German": Language(
        "{subject} {action} {place}.",
        "Ein junger Mann/Eine alte Frau/Ein Junge im roten Hemd/Ein Mädchen im blauen Kleid/Ein brauner Hund/"
        "Eine weiße Katze/Ein Fischer/Eine fröhliche Kellnerin/Ein Mann mit grauem Hut/Ein Kind mit Brille",
        "läuft/schläft/springt/schaut in die Kamera/spielt mit einem gelben Ball/isst einen Apfel/wartet auf den Bus/"
        "klettert auf einen Felsen/trinkt Wasser/lacht",
        "am Strand/im Park/vor einem grünen Haus/am Rand des Waldes/neben einem geparkten Auto",
    ),
    "French": Language(
        "{subject} {action} {place}.",
        "Un jeune homme/Une vieille femme/Un garçon en chemise rouge/Une fillette en robe bleue/Un chien brun/"
        "Un chat blanc/Un pêcheur/Une serveuse du café/Un homme au chapeau gris/Un enfant à lunettes",
        "court/dort/saute/regarde l’appareil photo/joue avec un ballon jaune/mange une pomme/attend l'autobus/"
        "grimpe sur un rocher/boit de l'eau/rit aux éclats",
        "sur la plage/dans le parc/devant une maison verte/à la lisière de la forêt/à côté d'une voiture garée",
    ),
    "Spanish": Language(
        "{subject} {action} {place}.",
        "Un hombre joven/Una mujer mayor/Un niño con camisa roja/Una niña con vestido azul/Un perro marrón/"
        "Un gato blanco/Un pescador/Una camarera del café/Un señor con sombrero gris/Un bebé con gafas",
        "corre/duerme/salta/mira a la cámara/juega con una pelota amarilla/come una manzana/espera el autobús/"
        "trepa a una roca/bebe agua/se ríe",
        "en la playa/en el parque/delante de una casa verde/al borde del bosque/junto a un coche aparcado aquí",
    ),
    "Czech": Language(
        "{subject} {action} {place}.",
        "Mladý muž/Stará žena/Chlapec v červeném tričku/Dívka v modrých šatech/Hnědý pes/Bílá kočka/Rybář/"
        "Veselá servírka/Muž se šedým kloboukem/Dítě s brýlemi",
        "běží/spí/skáče přes plot/dívá se do fotoaparátu/hraje si se žlutým míčem/jí jablko/čeká na autobus/"
        "leze na skálu/pije vodu/směje se",
        "na pláži/v parku/před zeleným domem/na kraji lesa/vedle zaparkovaného auta",
    ),
    "Vietnamese": Language(
        "{subject} {action} {place}.",
        "Một chàng trai trẻ/Một bà cụ/Một cậu bé mặc áo đỏ/Một cô bé mặc váy xanh/Một con chó nâu/Một con mèo trắng/"
        "Một người đánh cá/Một cô phục vụ/Một người đàn ông đội mũ xám/Một đứa trẻ đeo kính",
        "đang chạy/đang ngủ/đang nhảy qua hàng rào/đang nhìn vào máy ảnh/đang chơi với quả bóng vàng/đang ăn táo/"
        "đang đợi xe buýt/đang leo lên tảng đá/đang uống nước/đang cười",
        "trên bãi biển/trong công viên/trước ngôi nhà màu xanh/bên bìa rừng/cạnh chiếc ô tô đang đỗ",
    ),
    "Russian": Language(
        "{subject} {action} {place}.",
        "Молодой человек/Пожилая женщина/Мальчик в красной рубашке/Девочка в синем платье/Коричневый пёс/Белый кот/"
        "Рыбак/Весёлая официантка/Мужчина в серой шляпе/Ребёнок в очках",
        "бежит/спит/прыгает через забор/смотрит в камеру/играет с жёлтым мячом/ест яблоко/ждёт автобус/"
        "лезет на скалу/пьёт воду/смеётся",
        "на пляже/в парке/перед зелёным домом/на краю леса/рядом с чужой машиной",
    ),
    "Arabic": Language(
        "{subject} {action} {place}.",
        "شاب طويل/رجل عجوز/ولد بقميص أحمر/طفل بثوب أزرق/كلب بني/قط أبيض/صياد سمك/نادل مرح/رجل بقبعة رمادية/صبي بنظارة",
        "يركض/ينام/يقفز فوق السياج/ينظر إلى الكاميرا/يلعب بكرة صفراء/يأكل تفاحة/ينتظر الحافلة/يتسلق صخرة/"
        "يشرب الماء/يضحك",
        "على الشاطئ/في الحديقة/أمام بيت أخضر/عند طرف الغابة/بجانب سيارة متوقفة",
    ),
    "Korean": Language(
        "{subject} {place} {action}.",
        "젊은 남자가/나이 든 여자가/빨간 셔츠를 입은 소년이/파란 원피스를 입은 소녀가/갈색 개가/하얀 고양이가/어부가/"
        "카페 종업원이/회색 모자를 쓴 남자가/안경을 쓴 아이가",
        "달린다/잔다/울타리를 뛰어넘는다/카메라를 본다/노란 공을 가지고 논다/사과를 먹는다/버스를 기다린다/"
        "바위에 오른다/물을 마신다/웃는다",
        "해변에서/공원에서/초록색 집 앞에서/숲 가장자리에서/주차된 차 옆에서",
    ),
    "Chinese": Language(
        "{subject}{place}{action}。",
        "一个年轻男人/一位老太太/一个穿红衬衫的男孩/一个穿蓝裙子的女孩/一只棕色的狗/一只白猫/一个渔夫/一名服务员/"
        "一个戴灰帽子的男人/一个戴眼镜的孩子",
        "跑步/睡觉/跳过栅栏/看着镜头/玩黄色的球/吃苹果/等公共汽车/爬上岩石/喝水/大笑",
        "在海滩上/在公园里/在绿色的房子前/在森林边/在停着的汽车旁",
    ),
    "Japanese": Language(
        "{subject}{place}{action}。",
        "若い男性が/年配の女性が/赤いシャツの少年が/青いワンピースの女の子が/茶色い犬が/白い猫が/漁師が/"
        "カフェのウエイトレスが/灰色の帽子の男が/眼鏡をかけた子供が",
        "走っている/眠っている/柵を飛び越えている/カメラを見ている/黄色いボールで遊んでいる/リンゴを食べている/"
        "バスを待っている/岩に登っている/水を飲んでいる/笑っている",
        "海辺で/公園で/緑の家の前で/森の端で/止まっている車のそばで",
    ),
    "Thai": Language(
        "{subject}{action}{place}",
        "ชายหนุ่ม/หญิงชรา/เด็กชายใส่เสื้อสีแดง/เด็กหญิงใส่กระโปรงสีฟ้า/หมาสีน้ำตาล/แมวสีขาว/ชาวประมง/พนักงานเสิร์ฟ/"
        "ชายสวมหมวกสีเทา/เด็กใส่แว่นตา",
        "กำลังวิ่ง/กำลังนอนหลับ/กำลังกระโดดข้ามรั้ว/กำลังมองกล้อง/กำลังเล่นลูกบอลสีเหลือง/กำลังกินแอปเปิล/กำลังรอรถเมล์/"
        "กำลังปีนก้อนหิน/กำลังดื่มน้ำ/กำลังหัวเราะ",
        "บนชายหาด/ในสวนสาธารณะ/หน้าบ้านสีเขียว/ที่ชายป่า/ข้างรถที่จอดอยู่",
    ),
}


def captions(name: str, count: int = 100) -> list[str]:
    """The first captions of a language, at most a hundred; all are different."""
    language = LANGUAGES[name]
    subjects, actions, places = (part.split("/") for part in language[1:])
    numbers = [(i % 10, i // 10, (i + i // 10) % 5) for i in range(count)]
    return [language.order.format(subject=subjects[s], action=actions[a], place=places[p]) for s, a, p in numbers]
