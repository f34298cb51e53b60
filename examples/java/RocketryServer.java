import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A RocketMQ of a test's own: name server and broker on free ports, ready when the constructor returns, gone with its data when closed.
 *
 * <p>The executable is {@code rocketry} on the path, or what the environment variable {@code ROCKETRY} names. Tests that run at once may each
 * have one.
 */
public final class RocketryServer implements AutoCloseable {
    private static final Pattern NAMESRV = Pattern.compile("\"namesrv\":\"([^\"]+)\"");

    private final Process process;
    private final String namesrv;

    public RocketryServer() throws IOException {
        String rocketry = System.getenv().getOrDefault("ROCKETRY", "rocketry");
        process = new ProcessBuilder(rocketry, "serve", "--temp", "--namesrv-port", "0", "--output", "json")
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
        // Not closed: the server's standard output ends with the server.
        BufferedReader out = new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
        String ready = out.readLine();
        Matcher found = NAMESRV.matcher(ready == null ? "" : ready);
        if (!found.find()) {
            close();
            throw new IOException(rocketry + " serve is not ready, its message is on standard error; it printed: " + ready);
        }
        namesrv = found.group(1);
    }

    /** For {@code setNamesrvAddr}. */
    public String namesrv() {
        return namesrv;
    }

    @Override
    public void close() {
        process.destroy();
        try {
            if (!process.waitFor(10, TimeUnit.SECONDS)) {
                process.destroyForcibly();
            }
        } catch (InterruptedException e) {
            process.destroyForcibly();
            Thread.currentThread().interrupt();
        }
    }
}
