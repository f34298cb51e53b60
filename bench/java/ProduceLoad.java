import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.message.Message;

/** Sends with one {@link DefaultMQProducer}: from {@code in-flight} threads, or from one with a window of that many callbacks. */
final class ProduceLoad {
    /** For what is under way at the end. */
    private static final int WAIT_SECONDS = 30;
    /**
     * One-way sends of a thread per synchronous one. Nothing else bounds how many wait: the client's permits for them are taken by the thread
     * of the event loop, which then waits for permits that only itself can give back, 3 s for each send too many.
     */
    private static final int ONEWAYS = 256;

    private final String topic;
    private final String mode;
    private final int inFlight;
    private final int batch;
    private final long warmNanos;
    private final long nanos;
    private final byte[] body;
    private final DefaultMQProducer producer;
    private final Measure measure;

    ProduceLoad(Bench.Options options) {
        topic = options.text("topic");
        mode = options.text("mode", "sync");
        inFlight = options.number("in-flight", 1);
        batch = options.number("batch", 32);
        warmNanos = options.nanos("warm", 1);
        nanos = options.nanos("seconds", 1);
        measure = new Measure(options.number("watch", 0));
        String codec = options.text("compress", "none");
        body = body(options.number("size", 1024), !codec.equals("none"));
        producer = new DefaultMQProducer("bench-java");
        producer.setNamesrvAddr(options.text("namesrv"));
        producer.setInstanceName("bench-" + System.nanoTime());
        producer.setSendMsgTimeout(10_000);
        if (codec.equals("none")) {
            producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        } else {
            producer.setCompressType(CompressionType.of(codec.toUpperCase()));
            producer.setCompressMsgBodyOverHowmuch(1);
        }
        if (mode.equals("auto-batch")) {
            producer.setAutoBatch(true);
        }
    }

    String run() throws Exception {
        producer.start();
        try {
            List<Thread> workers = new ArrayList<>();
            Semaphore window = new Semaphore(inFlight);
            int threads = mode.equals("async") ? 1 : inFlight;
            for (int i = 0; i < threads; i++) {
                Thread worker = new Thread(() -> work(window), "bench-" + i);
                worker.start();
                workers.add(worker);
            }
            return measure.phases(warmNanos, nanos, () -> join(workers, window));
        } finally {
            producer.shutdown();
        }
    }

    private void join(List<Thread> workers, Semaphore window) {
        try {
            for (Thread worker : workers) {
                worker.join(TimeUnit.SECONDS.toMillis(WAIT_SECONDS));
            }
            if (!window.tryAcquire(inFlight, WAIT_SECONDS, TimeUnit.SECONDS)) {
                throw new IllegalStateException("callbacks missing after " + WAIT_SECONDS + " s");
            }
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private void work(Semaphore window) {
        int unconfirmed = 0;
        while (measure.goesOn()) {
            try {
                switch (mode) {
                    case "async":
                        window.acquire();
                        producer.send(message(), new Callback(window));
                        break;
                    case "oneway": {
                        long started = System.nanoTime();
                        if (unconfirmed++ % ONEWAYS == 0) {
                            stored(producer.send(message()));
                        } else {
                            producer.sendOneway(message());
                        }
                        measure.done(started, 1);
                        break;
                    }
                    case "batch": {
                        long started = System.nanoTime();
                        List<Message> messages = new ArrayList<>(batch);
                        for (int i = 0; i < batch; i++) {
                            messages.add(message());
                        }
                        stored(producer.send(messages));
                        measure.done(started, batch);
                        break;
                    }
                    default: {
                        long started = System.nanoTime();
                        stored(producer.send(message()));
                        measure.done(started, 1);
                    }
                }
            } catch (Exception e) {
                measure.failed(e);
            }
        }
    }

    private Message message() {
        return new Message(topic, body);
    }

    private static void stored(SendResult result) {
        if (result.getSendStatus() != SendStatus.SEND_OK) {
            throw new IllegalStateException("not stored: " + result);
        }
    }

    /** The same every time: random bytes, or words that compress. */
    private static byte[] body(int size, boolean text) {
        byte[] body = new byte[size];
        Random random = new Random(9876);
        random.nextBytes(body);
        if (text) {
            String[] words = {"order", "created", "payment", "customer", "amount", "currency", "shipped", "address", "status", "pending",
                "item", "quantity", "price", "total", "region", "timestamp"};
            StringBuilder built = new StringBuilder();
            while (built.length() < size) {
                built.append(words[random.nextInt(words.length)]).append(' ');
            }
            System.arraycopy(built.toString().getBytes(), 0, body, 0, size);
        }
        return body;
    }

    private final class Callback implements SendCallback {
        private final long started = System.nanoTime();
        private final Semaphore window;

        Callback(Semaphore window) {
            this.window = window;
        }

        @Override
        public void onSuccess(SendResult result) {
            if (result.getSendStatus() == SendStatus.SEND_OK) {
                measure.done(started, 1);
            } else {
                measure.failed(new IllegalStateException("not stored: " + result));
            }
            window.release();
        }

        @Override
        public void onException(Throwable e) {
            measure.failed(e);
            window.release();
        }
    }
}
