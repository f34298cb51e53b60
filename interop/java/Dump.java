import java.io.BufferedWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;

/**
 * {@code dump ns topic count wait_ms out [namespace]}: reads a topic from its first message until {@code count} messages have come or
 * {@code wait_ms} have passed, and writes everything that is known of each as one JSON object per line.
 */
final class Dump {
    private static final int PULL_BATCH = 64;
    private static final int PAUSE_MS = 50;
    private static int instances;

    static String run(String verb, Map<String, String> options) throws Exception {
        int count = Integer.parseInt(options.get("count"));
        long end = System.currentTimeMillis() + Long.parseLong(options.get("wait_ms"));
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("interop-dump");
        consumer.setNamesrvAddr(options.get("ns"));
        consumer.setInstanceName("dump-" + (instances++));
        if (options.containsKey("namespace")) {
            consumer.setNamespace(options.get("namespace"));
        }
        consumer.start();
        int received = 0;
        try (BufferedWriter out = Files.newBufferedWriter(Path.of(options.get("out")))) {
            Set<MessageQueue> queues = queues(consumer, options.get("topic"), end);
            Map<MessageQueue, Long> offsets = new HashMap<>();
            while (true) {
                for (MessageQueue queue : queues) {
                    if (!offsets.containsKey(queue)) {
                        offsets.put(queue, consumer.minOffset(queue));
                    }
                    long offset = offsets.get(queue);
                    if (offset >= consumer.maxOffset(queue)) {
                        continue;
                    }
                    PullResult result = consumer.pull(queue, "*", offset, PULL_BATCH);
                    offsets.put(queue, result.getNextBeginOffset());
                    if (result.getPullStatus() == PullStatus.FOUND) {
                        for (MessageExt message : result.getMsgFoundList()) {
                            write(out, message, queue);
                            received++;
                        }
                    }
                }
                if (received >= count || System.currentTimeMillis() >= end) {
                    return String.valueOf(received);
                }
                Thread.sleep(PAUSE_MS);
            }
        } finally {
            consumer.shutdown();
        }
    }

    /** A topic that the first message creates is known to name servers a moment later. */
    private static Set<MessageQueue> queues(DefaultMQPullConsumer consumer, String topic, long end) throws Exception {
        while (true) {
            try {
                return consumer.fetchSubscribeMessageQueues(topic);
            } catch (Exception e) {
                if (System.currentTimeMillis() >= end) {
                    throw e;
                }
                Thread.sleep(PAUSE_MS);
            }
        }
    }

    private static void write(BufferedWriter out, MessageExt message, MessageQueue queue) throws Exception {
        out.write(RemotingSerializable.toJson(describe(message, queue.getBrokerName()), false));
        out.write("\n");
    }

    static Map<String, Object> describe(MessageExt message, String broker) {
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("topic", message.getTopic());
        fields.put("broker", broker);
        fields.put("queue_id", message.getQueueId());
        fields.put("queue_offset", message.getQueueOffset());
        fields.put("msg_id", message.getMsgId());
        fields.put("offset_msg_id", message instanceof MessageClientExt ? ((MessageClientExt) message).getOffsetMsgId() : null);
        fields.put("tags", message.getTags());
        fields.put("keys", message.getKeys());
        fields.put("sys_flag", message.getSysFlag());
        fields.put("flag", message.getFlag());
        fields.put("born_ms", message.getBornTimestamp());
        fields.put("store_ms", message.getStoreTimestamp());
        fields.put("store_bytes", message.getStoreSize());
        fields.put("properties", message.getProperties());
        fields.put("body_base64", message.getBody() == null ? "" : Base64.getEncoder().encodeToString(message.getBody()));
        return fields;
    }
}
