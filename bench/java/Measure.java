import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/** The phases of a run, and its figures: warm-up, then the measured phase, whose start and end read the clocks of time and of the CPU. */
final class Measure {
    private static final OperatingSystemMXBean PROCESS = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    /** Latencies kept; further ones are counted only. */
    private static final int KEPT = 4 << 20;

    private final int[] latenciesUs = new int[KEPT];
    private final AtomicInteger kept = new AtomicInteger();
    private final AtomicLong messages = new AtomicLong();
    private final AtomicLong failed = new AtomicLong();
    private volatile boolean measuring;
    private volatile boolean over;
    private volatile String firstFailure = "";
    /** Another process whose CPU time is measured as well; 0 is none. */
    private final int watched;

    Measure(int watched) {
        this.watched = watched;
    }

    /** False when a worker should not begin anything any more. */
    boolean goesOn() {
        return !over;
    }

    /** A call that began at {@code startedNanos} has ended well and carried {@code count} messages. */
    void done(long startedNanos, int count) {
        if (!measuring) {
            return;
        }
        messages.addAndGet(count);
        int index = kept.getAndIncrement();
        if (index < KEPT) {
            latenciesUs[index] = (int) Math.min(Integer.MAX_VALUE, (System.nanoTime() - startedNanos) / 1000);
        }
    }

    void failed(Throwable e) {
        if (failed.getAndIncrement() == 0) {
            firstFailure = String.valueOf(e).replaceAll("[\"\\\\\\p{Cntrl}]", " ");
        }
    }

    /** Lets the workers run through both phases, then tells them to end; the line of JSON. */
    String phases(long warmNanos, long nanos, Runnable end) throws Exception {
        Thread.sleep(warmNanos / 1_000_000);
        Files.writeString(Path.of("/proc/self/clear_refs"), "5");
        double watchedUs = watchedCpuUs();
        long cpu = PROCESS.getProcessCpuTime();
        long began = System.nanoTime();
        measuring = true;
        Thread.sleep(nanos / 1_000_000);
        measuring = false;
        double seconds = (System.nanoTime() - began) / 1e9;
        double cpuUs = (PROCESS.getProcessCpuTime() - cpu) / 1e3;
        watchedUs = watchedCpuUs() - watchedUs;
        over = true;
        end.run();
        int[] sorted = Arrays.copyOf(latenciesUs, Math.min(kept.get(), KEPT));
        Arrays.sort(sorted);
        return String.format(Locale.ROOT,
            "{\"messages\":%d,\"failed\":%d,\"first_failure\":\"%s\",\"seconds\":%.6f,\"p50_us\":%d,\"p99_us\":%d,\"p999_us\":%d,\"cpu_us\":%.0f,\"watched_cpu_us\":%.0f,\"max_rss_bytes\":%d}",
            messages.get(), failed.get(), firstFailure, seconds, at(sorted, 500), at(sorted, 990), at(sorted, 999), cpuUs, watchedUs,
            peakMemory());
    }

    /** User and system time, which the kernel tells in hundredths of a second. */
    private double watchedCpuUs() throws Exception {
        if (watched == 0) {
            return 0;
        }
        String stat = Files.readString(Path.of("/proc/" + watched + "/stat"));
        String[] behindName = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
        return (Long.parseLong(behindName[11]) + Long.parseLong(behindName[12])) * 1e4;
    }

    private static int at(int[] sorted, int perMille) {
        return sorted.length == 0 ? 0 : sorted[(int) ((long) sorted.length * perMille / 1000)];
    }

    private static long peakMemory() throws Exception {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmHWM:")) {
                return Long.parseLong(line.replaceAll("\\D", "")) * 1024;
            }
        }
        return 0;
    }
}
