import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * {@code admin args out}: runs one {@code mqadmin} command ({@code args} separated by blanks) and writes what it printed to {@code out}.
 *
 * <p>mqadmin reports a failure only by a stack trace on standard error, so that is captured as well.
 */
final class Admin {
    static String run(String verb, Map<String, String> options) throws Exception {
        PrintStream out = System.out;
        PrintStream err = System.err;
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        PrintStream both = new PrintStream(printed, true, StandardCharsets.UTF_8);
        System.setOut(both);
        System.setErr(both);
        try {
            MQAdminStartup.main0(options.get("args").split(" "), null);
        } finally {
            System.setOut(out);
            System.setErr(err);
        }
        Files.write(Path.of(options.get("out")), printed.toByteArray());
        return String.valueOf(printed.size());
    }
}
