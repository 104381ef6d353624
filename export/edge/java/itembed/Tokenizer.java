package itembed;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.text.Normalizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.zip.ZipFile;

/**
 * Tokenizer of an exported text encoder: a text to ids. Java 8 and Android, no dependencies. From Kotlin:
 * <pre>
 * val tokenizer = Tokenizer(assets.open("tokenizer.txt").reader(), assets.open("vocabulary.txt").reader())
 * val ids = arrayOf(tokenizer.encode("a dog runs"))   // int[1][length], the input of the interpreter
 * </pre>
 */
public final class Tokenizer {
    private static final String FIRST_LINE = "itembed_tf tokenizer 1";

    /** Ids per text: the second dimension of the model's input. */
    public final int length;

    private final int longest;
    private final TreeMap<Integer, Run> before = new TreeMap<>();
    private final TreeMap<Integer, Run> after = new TreeMap<>();
    private final List<List<TreeMap<Integer, Run>>> spaced = new ArrayList<>(); // heads and tails
    private final Map<String, Integer> ids = new HashMap<>();

    /**
     * Reads tokenizer.txt and vocabulary.txt, both UTF-8, and closes the readers.
     *
     * @throws IllegalArgumentException the rules have a version that this class does not support
     */
    public Tokenizer(Reader rules, Reader vocabulary) throws IOException {
        Map<String, String> settings = new HashMap<>();
        try (BufferedReader lines = new BufferedReader(rules)) {
            String line = lines.readLine();
            if (!FIRST_LINE.equals(line)) {
                throw new IllegalArgumentException("tokenizer.txt starts with \"" + line + "\", this class supports \""
                        + FIRST_LINE + "\"; use the Tokenizer.java of the itembed_tf version that exported it");
            }
            while ((line = lines.readLine()) != null) {
                List<String> parts = Arrays.asList(line.split(" "));
                String key = parts.get(0);
                if (key.equals("before") || key.equals("after")) {
                    add(key.equals("before") ? before : after, parts.subList(2, parts.size()), parts.get(1));
                } else if (key.equals("spaced")) {
                    TreeMap<Integer, Run> head = new TreeMap<>();
                    TreeMap<Integer, Run> tail = new TreeMap<>();
                    int bar = parts.indexOf("|");
                    add(head, parts.subList(1, bar), "");
                    add(tail, parts.subList(bar + 1, parts.size()), "");
                    spaced.add(Arrays.asList(head, tail));
                } else {
                    settings.put(key, parts.get(1));
                }
            }
        }
        length = Integer.parseInt(settings.get("length"));
        longest = Integer.parseInt(settings.get("longest"));
        try (BufferedReader lines = new BufferedReader(vocabulary)) {
            for (String word = lines.readLine(); word != null; word = lines.readLine()) {
                ids.put(word, ids.size() + 1);
            }
        }
    }

    /** Reads both files from inside a .tflite file. On Android, whose ZIP reader may reject it, use assets instead. */
    public static Tokenizer ofModel(File model) throws IOException {
        try (ZipFile inside = new ZipFile(model);
                InputStream rules = inside.getInputStream(inside.getEntry("tokenizer.txt"));
                InputStream vocabulary = inside.getInputStream(inside.getEntry("vocabulary.txt"))) {
            return new Tokenizer(new InputStreamReader(rules, StandardCharsets.UTF_8),
                    new InputStreamReader(vocabulary, StandardCharsets.UTF_8));
        }
    }

    /** All words of a text, known or not. */
    public List<String> words(String text) {
        return words(text.getBytes(StandardCharsets.UTF_8));
    }

    /** All words of a text in UTF-8, known or not; invalid bytes separate words. */
    public List<String> words(byte[] utf8) {
        String text = new String(utf8, 0, Math.min(utf8.length, longest), StandardCharsets.UTF_8);
        if (!spaced.isEmpty()) {
            text = Normalizer.normalize(translate(text, before), Normalizer.Form.NFKC);
        }
        text = translate(text, after);
        if (!spaced.isEmpty()) {
            text = space(Normalizer.normalize(text, Normalizer.Form.NFC));
        }
        List<String> words = new ArrayList<>();
        for (String word : text.split(" ")) {
            if (!word.isEmpty()) {
                words.add(word);
            }
        }
        return words;
    }

    /** The model's input: unknown words removed, then truncated or padded with 0 on the right. */
    public int[] encode(String text) {
        return encode(text.getBytes(StandardCharsets.UTF_8));
    }

    /** As {@link #encode(String)}, from UTF-8. */
    public int[] encode(byte[] utf8) {
        int[] row = new int[length];
        int used = 0;
        for (String word : words(utf8)) {
            Integer id = ids.get(word);
            if (id != null && used < length) {
                row[used++] = id;
            }
        }
        return row;
    }

    private static final class Run {
        final int last;
        final String action;

        Run(int last, String action) {
            this.last = last;
            this.action = action;
        }
    }

    private static void add(TreeMap<Integer, Run> table, List<String> ranges, String action) {
        for (String range : ranges) {
            String[] ends = range.split("-");
            table.put(Integer.parseInt(ends[0], 16), new Run(Integer.parseInt(ends[ends.length - 1], 16), action));
        }
    }

    private static String action(TreeMap<Integer, Run> table, int code) {
        Map.Entry<Integer, Run> run = table.floorEntry(code);
        return run != null && code <= run.getValue().last ? run.getValue().action : null;
    }

    private static String translate(String text, TreeMap<Integer, Run> table) {
        StringBuilder out = new StringBuilder(text.length());
        for (int code : text.codePoints().toArray()) {
            String action = action(table, code);
            if (action == null) {
                out.appendCodePoint(code);
            } else if (action.equals("part")) {
                out.append(' ');
            } else if (action.startsWith("=")) {
                out.appendCodePoint(Integer.parseInt(action.substring(1), 16));
            } else if (!action.equals("drop")) {
                out.appendCodePoint(code + Integer.parseInt(action));
            }
        }
        return out.toString();
    }

    /** Puts spaces around the words of scripts without spaces. */
    private String space(String text) {
        int[] codes = text.codePoints().toArray();
        StringBuilder out = new StringBuilder(2 * text.length());
        for (int i = 0; i < codes.length;) {
            int end = i + 1;
            boolean alone = false;
            for (List<TreeMap<Integer, Run>> rule : spaced) {
                if (action(rule.get(0), codes[i]) != null) {
                    alone = true;
                    while (end < codes.length && action(rule.get(1), codes[end]) != null) {
                        end++;
                    }
                    break;
                }
            }
            out.append(alone ? " " : "").append(new String(codes, i, end - i)).append(alone ? " " : "");
            i = end;
        }
        return out.toString();
    }
}
