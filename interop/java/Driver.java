import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Apache RocketMQ's own clients behind one line protocol, so that a whole run pays for one JVM.
 *
 * <p>A request is one line: {@code verb TAB name=value TAB ...}; the answer is one line, {@code ok TAB text} or {@code error TAB text}.
 * Messages travel in files: one body per line to send, one tab separated record per received message.
 */
public final class Driver {
    private static final PrintStream ANSWERS = System.out;

    public static void main(String[] args) throws Exception {
        System.setOut(System.err); // the libraries print; answers must stay alone on standard output
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            String answer;
            try {
                answer = "ok\t" + run(line);
            } catch (Throwable e) {
                e.printStackTrace();
                answer = "error\t" + oneLine(e.toString());
            }
            ANSWERS.println(answer);
            ANSWERS.flush();
        }
        System.exit(0); // client threads that are not daemons must not outlive the driver's standard input
    }

    private static String run(String line) throws Exception {
        String[] parts = line.split("\t", -1);
        Map<String, String> options = new LinkedHashMap<>();
        for (int i = 1; i < parts.length; i++) {
            int eq = parts[i].indexOf('=');
            options.put(parts[i].substring(0, eq), parts[i].substring(eq + 1));
        }
        switch (parts[0]) {
            case "produce":
                return Produce.run(options);
            case "pull":
            case "litepull":
            case "push":
                return Consume.run(parts[0], options);
            case "admin":
                return Admin.run(options);
            default:
                throw new IllegalArgumentException("no such verb: " + parts[0]);
        }
    }

    /** The non-empty lines of a file as bytes; only LF separates, as in {@code rocketry send --format lines}. */
    static List<byte[]> bodies(String file) throws Exception {
        byte[] all = Files.readAllBytes(Path.of(file));
        List<byte[]> lines = new ArrayList<>();
        int start = 0;
        for (int i = 0; i <= all.length; i++) {
            if (i == all.length || all[i] == '\n') {
                if (i > start) {
                    lines.add(java.util.Arrays.copyOfRange(all, start, i));
                }
                start = i + 1;
            }
        }
        return lines;
    }

    static String oneLine(String text) {
        return text.replace('\n', ' ').replace('\t', ' ').replace('\r', ' ');
    }
}
