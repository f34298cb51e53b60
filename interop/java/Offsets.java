import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.producer.selector.SelectMessageQueueByHash;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;

/**
 * {@code offsets ns topic time_ms}: what Java's client knows of each queue of a topic, as a JSON list;
 * {@code hash queues keys}: the queue ids that {@link SelectMessageQueueByHash} picks for keys (separated by blanks) among 0..queues.
 */
final class Offsets {
    private static int instances;

    static String run(String verb, Map<String, String> options) throws Exception {
        return verb.equals("hash") ? hash(options) : offsets(options);
    }

    private static String hash(Map<String, String> options) {
        List<MessageQueue> queues = new ArrayList<>();
        for (int i = 0; i < Integer.parseInt(options.get("queues")); i++) {
            queues.add(new MessageQueue("T", "b", i));
        }
        SelectMessageQueueByHash selector = new SelectMessageQueueByHash();
        StringBuilder picked = new StringBuilder();
        for (String key : options.get("keys").split(" ")) {
            picked.append(selector.select(queues, null, key).getQueueId()).append(' ');
        }
        return picked.toString().trim();
    }

    private static String offsets(Map<String, String> options) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("interop-offsets");
        consumer.setNamesrvAddr(options.get("ns"));
        consumer.setInstanceName("offsets-" + (instances++));
        consumer.start();
        try {
            Set<MessageQueue> queues = new TreeSet<>(consumer.fetchSubscribeMessageQueues(options.get("topic")));
            List<Map<String, Object>> rows = new ArrayList<>();
            for (MessageQueue queue : queues) {
                Map<String, Object> row = new LinkedHashMap<>();
                row.put("broker", queue.getBrokerName());
                row.put("queue_id", queue.getQueueId());
                row.put("min", consumer.minOffset(queue));
                row.put("max", consumer.maxOffset(queue));
                row.put("at", consumer.searchOffset(queue, Long.parseLong(options.get("time_ms"))));
                row.put("earliest_ms", consumer.earliestMsgStoreTime(queue));
                rows.add(row);
            }
            return RemotingSerializable.toJson(rows, false);
        } finally {
            consumer.shutdown();
        }
    }
}
