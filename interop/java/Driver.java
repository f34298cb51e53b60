import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Apache RocketMQ's own clients behind one line protocol, so that a whole run pays for one JVM.
 *
 * <p>A request is one line: {@code verb TAB name=value TAB ...}; the answer is one line, {@code ok TAB text} or {@code error TAB text}.
 * Messages travel in files: one body per line to send, one record per received message.
 *
 * <p>Each verb belongs to a class with a method {@code run(verb, options)}, which is looked up by name: what an older client library does not
 * offer is left out when the driver is compiled for it.
 */
public final class Driver {
    private static final PrintStream ANSWERS = System.out;
    private static final Map<String, String> OWNERS = new HashMap<>();

    static {
        OWNERS.put("produce", "Produce");
        OWNERS.put("pull", "Consume");
        OWNERS.put("litepull", "Consume");
        OWNERS.put("push", "Consume");
        OWNERS.put("admin", "Admin");
        OWNERS.put("dump", "Dump");
        OWNERS.put("offsets", "Offsets");
        OWNERS.put("hash", "Offsets");
        OWNERS.put("request", "Reply");
        OWNERS.put("replier", "Reply");
        OWNERS.put("trace", "Trace");
        OWNERS.put("subscribe", "Live");
        OWNERS.put("assigned", "Live");
        OWNERS.put("unsubscribe", "Live");
        OWNERS.put("put", "Put");
        OWNERS.put("transact", "Put");
        OWNERS.put("checks", "Put");
        OWNERS.put("signedsend", "Signed");
        OWNERS.put("signedpush", "Signed");
        OWNERS.put("signedadmin", "Signed");
        for (String verb : new String[] {"settled", "pending", "state", "decide", "pop", "recall"}) {
            OWNERS.put("takeover-" + verb, "Takeover");
        }
    }

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

    private static String run(String line) throws Throwable {
        String[] parts = line.split("\t", -1);
        Map<String, String> options = new LinkedHashMap<>();
        for (int i = 1; i < parts.length; i++) {
            int eq = parts[i].indexOf('=');
            options.put(parts[i].substring(0, eq), parts[i].substring(eq + 1));
        }
        String owner = OWNERS.get(parts[0]);
        if (owner == null) {
            throw new IllegalArgumentException("no such verb: " + parts[0]);
        }
        try {
            return (String) Class.forName(owner).getDeclaredMethod("run", String.class, Map.class).invoke(null, parts[0], options);
        } catch (InvocationTargetException e) {
            throw e.getCause();
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
