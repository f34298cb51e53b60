import java.io.BufferedWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.message.Message;

/**
 * {@code produce ns topic mode file count acks}: sends the first {@code count} lines of {@code file} with {@link DefaultMQProducer}.
 *
 * <p>{@code mode} is sync, async, oneway, batch, zlib, lz4 or zstd (the last three: sync sends, every body compressed).
 * {@code acks} receives one line per acknowledgement: {@code broker TAB queueId TAB queueOffset TAB msgId TAB offsetMsgId}.
 */
final class Produce {
    private static final int ASYNC_IN_FLIGHT = 256;
    /** Below the client's 65,535 one-way permits, which it never gives back when they run out. */
    private static final int ONEWAY_BURST = 1000;
    private static final int BATCH = 50;
    private static final int SEND_TIMEOUT_MS = 15_000;
    private static int instances;

    static String run(String verb, Map<String, String> options) throws Exception {
        String mode = options.get("mode");
        DefaultMQProducer producer = new DefaultMQProducer("interop-java-" + mode);
        producer.setNamesrvAddr(options.get("ns"));
        producer.setInstanceName("produce-" + (instances++));
        producer.setSendMsgTimeout(SEND_TIMEOUT_MS);
        if (mode.equals("zlib") || mode.equals("lz4") || mode.equals("zstd")) {
            producer.setCompressType(CompressionType.of(mode.toUpperCase()));
            producer.setCompressMsgBodyOverHowmuch(1);
        }
        List<Message> messages = new ArrayList<>();
        List<byte[]> bodies = Driver.bodies(options.get("file"));
        for (byte[] body : bodies.subList(0, Math.min(bodies.size(), Integer.parseInt(options.get("count"))))) {
            Message message = new Message(options.get("topic"), "tag-" + mode, "key-" + messages.size(), body);
            message.putUserProperty("line", String.valueOf(messages.size()));
            messages.add(message);
        }
        Queue<SendResult> results = new ConcurrentLinkedQueue<>();
        producer.start();
        try {
            switch (mode) {
                case "async":
                    sendAsync(producer, messages, results);
                    break;
                case "oneway":
                    for (int i = 0; i < messages.size(); i++) {
                        producer.sendOneway(messages.get(i));
                        if (i % ONEWAY_BURST == ONEWAY_BURST - 1) {
                            Thread.sleep(20);
                        }
                    }
                    break;
                case "batch":
                    for (int i = 0; i < messages.size(); i += BATCH) {
                        results.add(producer.send(new ArrayList<>(messages.subList(i, Math.min(messages.size(), i + BATCH)))));
                    }
                    break;
                default:
                    for (Message message : messages) {
                        results.add(producer.send(message));
                    }
            }
        } finally {
            producer.shutdown();
        }
        try (BufferedWriter acks = Files.newBufferedWriter(Path.of(options.get("acks")))) {
            for (SendResult result : results) {
                if (result.getSendStatus() != SendStatus.SEND_OK) {
                    throw new IllegalStateException("not stored: " + result);
                }
                acks.write(result.getMessageQueue().getBrokerName() + "\t" + result.getMessageQueue().getQueueId() + "\t"
                    + result.getQueueOffset() + "\t" + result.getMsgId() + "\t" + result.getOffsetMsgId() + "\n");
            }
        }
        return String.valueOf(messages.size());
    }

    private static void sendAsync(DefaultMQProducer producer, List<Message> messages, Queue<SendResult> results) throws Exception {
        Semaphore permits = new Semaphore(ASYNC_IN_FLIGHT);
        Queue<Throwable> failures = new ConcurrentLinkedQueue<>();
        for (Message message : messages) {
            permits.acquire();
            producer.send(message, new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    results.add(result);
                    permits.release();
                }

                @Override
                public void onException(Throwable e) {
                    failures.add(e);
                    permits.release();
                }
            });
        }
        if (!permits.tryAcquire(ASYNC_IN_FLIGHT, 60, TimeUnit.SECONDS)) {
            throw new IllegalStateException("callbacks missing: " + (messages.size() - results.size() - failures.size()));
        }
        if (!failures.isEmpty()) {
            throw new IllegalStateException(failures.size() + " async sends failed", failures.peek());
        }
    }
}
