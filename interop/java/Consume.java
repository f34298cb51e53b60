import java.io.BufferedWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * {@code pull|litepull|push ns topic group count idle_ms out}: reads a topic from its first message.
 *
 * <p>{@code pull} ({@link DefaultMQPullConsumer}) reads every queue from its smallest to its largest offset; the other two stop at
 * {@code count} messages, or {@code idle_ms} after the last one. {@code out} receives one line per message:
 * {@code broker queueId queueOffset commitLogOffset msgId tags keys body}, tab separated, body in Base64.
 */
final class Consume {
    private static final int PULL_BATCH = 512;
    /**
     * A heartbeat that finds the client's lock taken is skipped, and a broker answers no pull before it has seen the latest
     * subscription: with the default of 30 s between heartbeats a consumer may start that late.
     */
    private static final int HEARTBEAT_MS = 1000;
    private static int instances;

    static String run(String kind, Map<String, String> options) throws Exception {
        int received;
        try (BufferedWriter out = Files.newBufferedWriter(Path.of(options.get("out")))) {
            switch (kind) {
                case "pull":
                    received = pull(options, out);
                    break;
                case "litepull":
                    received = litePull(options, out);
                    break;
                default:
                    received = push(options, out);
            }
        }
        return String.valueOf(received);
    }

    private static int pull(Map<String, String> options, BufferedWriter out) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(options.get("group"));
        consumer.setNamesrvAddr(options.get("ns"));
        consumer.setInstanceName("pull-" + (instances++));
        consumer.start();
        try {
            int received = 0;
            for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(options.get("topic"))) {
                long offset = consumer.minOffset(queue);
                long end = consumer.maxOffset(queue);
                while (offset < end) {
                    PullResult result = consumer.pull(queue, "*", offset, PULL_BATCH);
                    if (result.getPullStatus() != PullStatus.FOUND) {
                        throw new IllegalStateException(queue + " at " + offset + " of " + end + ": " + result);
                    }
                    for (MessageExt message : result.getMsgFoundList()) {
                        write(out, message);
                        received++;
                    }
                    offset = result.getNextBeginOffset();
                }
            }
            return received;
        } finally {
            consumer.shutdown();
        }
    }

    private static int litePull(Map<String, String> options, BufferedWriter out) throws Exception {
        int count = Integer.parseInt(options.get("count"));
        long idleMs = Long.parseLong(options.get("idle_ms"));
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(options.get("group"));
        consumer.setNamesrvAddr(options.get("ns"));
        consumer.setInstanceName("litepull-" + (instances++));
        consumer.setHeartbeatBrokerInterval(HEARTBEAT_MS);
        consumer.setAutoCommit(false);
        // Not by seeking: assign() starts to pull at once, and a seek lets a pull that is under way deliver a second time.
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.start();
        try {
            Collection<MessageQueue> queues = consumer.fetchMessageQueues(options.get("topic"));
            consumer.assign(queues);
            int received = 0;
            while (received < count) {
                List<MessageExt> messages = consumer.poll(idleMs);
                if (messages.isEmpty()) {
                    break;
                }
                for (MessageExt message : messages) {
                    write(out, message);
                    received++;
                }
            }
            return received;
        } finally {
            consumer.shutdown();
        }
    }

    private static int push(Map<String, String> options, BufferedWriter out) throws Exception {
        int count = Integer.parseInt(options.get("count"));
        long idleMs = Long.parseLong(options.get("idle_ms"));
        LinkedBlockingQueue<MessageExt> arrived = new LinkedBlockingQueue<>();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(options.get("group"));
        consumer.setNamesrvAddr(options.get("ns"));
        consumer.setInstanceName("push-" + (instances++));
        consumer.setHeartbeatBrokerInterval(HEARTBEAT_MS);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        // what the listener has taken is committed, or the group is given it again
        consumer.setAwaitTerminationMillisWhenShutdown(5000);
        consumer.subscribe(options.get("topic"), "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            arrived.addAll(messages);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        try {
            int received = 0;
            while (received < count) {
                MessageExt message = arrived.poll(idleMs, TimeUnit.MILLISECONDS);
                if (message == null) {
                    break;
                }
                write(out, message);
                received++;
            }
            return received;
        } finally {
            consumer.shutdown();
        }
    }

    private static void write(BufferedWriter out, MessageExt message) throws Exception {
        byte[] body = message.getBody() == null ? new byte[0] : message.getBody();
        out.write(message.getBrokerName() + "\t" + message.getQueueId() + "\t" + message.getQueueOffset() + "\t"
            + message.getCommitLogOffset() + "\t" + message.getMsgId() + "\t" + text(message.getTags()) + "\t" + text(message.getKeys())
            + "\t" + Base64.getEncoder().encodeToString(body) + "\n");
    }

    private static String text(String value) {
        return value == null ? "" : Driver.oneLine(value);
    }
}
