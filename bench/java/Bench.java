import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * Measures Apache RocketMQ's Java client: {@code java Bench produce --namesrv 127.0.0.1:9876 --topic T ...} runs once and prints one line
 * of JSON. Without arguments it reads such lines from standard input and answers each, so that one warm JVM serves many measurements.
 */
public final class Bench {
    public static void main(String[] args) throws Exception {
        if (args.length > 0) {
            System.out.println(answer(args));
            System.exit(0);
        }
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            System.out.println(answer(line.trim().split("\\s+")));
            System.out.flush();
        }
        System.exit(0);
    }

    private static String answer(String[] words) {
        try {
            Options options = new Options(Arrays.copyOfRange(words, 1, words.length));
            switch (words[0]) {
                case "produce":
                    return new ProduceLoad(options).run();
                case "pull":
                    return new PullLoad(options).run();
                default:
                    throw new IllegalArgumentException("neither produce nor pull: " + words[0]);
            }
        } catch (Throwable e) {
            Throwable root = e;
            while (root.getCause() != null) {
                root = root.getCause();
            }
            return "{\"error\":\"" + String.valueOf(root).replaceAll("[\"\\\\\\p{Cntrl}]", " ") + "\"}";
        }
    }

    /** {@code --name value} pairs. */
    static final class Options {
        private final Map<String, String> values = new HashMap<>();

        Options(String[] words) {
            for (int i = 0; i + 1 < words.length; i += 2) {
                if (!words[i].startsWith("--")) {
                    throw new IllegalArgumentException("not an option: " + words[i]);
                }
                values.put(words[i].substring(2), words[i + 1]);
            }
        }

        String text(String name, String otherwise) {
            return values.getOrDefault(name, otherwise);
        }

        String text(String name) {
            String value = values.get(name);
            if (value == null) {
                throw new IllegalArgumentException("--" + name + " is missing");
            }
            return value;
        }

        int number(String name, int otherwise) {
            return Integer.parseInt(values.getOrDefault(name, String.valueOf(otherwise)));
        }

        long nanos(String name, double otherwise) {
            return (long) (Double.parseDouble(values.getOrDefault(name, String.valueOf(otherwise))) * 1e9);
        }
    }
}
