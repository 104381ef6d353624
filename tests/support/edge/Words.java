import itembed.Tokenizer;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;
import java.util.stream.Collectors;

/** Lines of base64 on standard input to lines of JSON: {"words": [...], "ids": [...]} of each text. */
public final class Words {
    public static void main(String[] arguments) throws Exception {
        Tokenizer tokenizer = Tokenizer.ofModel(new File(arguments[0]));
        PrintStream out = new PrintStream(System.out, false, "UTF-8");
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            byte[] text = Base64.getDecoder().decode(line);
            String words = tokenizer.words(text).stream() // words hold letters, marks and numbers: nothing to escape
                    .map(word -> '"' + word + '"').collect(Collectors.joining(", "));
            out.println("{\"words\": [" + words + "], \"ids\": " + Arrays.toString(tokenizer.encode(text)) + "}");
        }
        out.flush();
    }
}
