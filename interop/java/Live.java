import java.io.BufferedWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.impl.consumer.RebalanceImpl;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;

/**
 * Push consumers that go on while other verbs run.
 *
 * <p>{@code subscribe id ns topic group out [kind=concurrent|orderly|pop] [model=CLUSTERING|BROADCASTING] [tags] [sql] [fail] [max_reconsume]
 * [trace] [linger_ms]}: starts one. {@code out} receives a line per delivery, at once: {@code arrival broker queueId queueOffset reconsumeTimes
 * born msgId tags keys body}, tab separated, body in Base64. With {@code fail=true} every delivery fails and comes again after a second.
 *
 * <p>{@code assigned id}: the number of queues that it holds. {@code unsubscribe id}: stops it.
 */
final class Live {
    private static final int HEARTBEAT_MS = 1000;
    private static final Map<String, DefaultMQPushConsumer> CONSUMERS = new HashMap<>();

    static String run(String verb, Map<String, String> options) throws Exception {
        String id = options.get("id");
        switch (verb) {
            case "subscribe":
                subscribe(id, options);
                return id;
            case "assigned":
                RebalanceImpl rebalance = CONSUMERS.get(id).getDefaultMQPushConsumerImpl().getRebalanceImpl();
                // a group's retry topic has a queue of its own
                long pull = rebalance.getProcessQueueTable().keySet().stream().filter(q -> !q.getTopic().startsWith("%RETRY%")).count();
                long pop = rebalance.getPopProcessQueueTable().keySet().stream().filter(q -> !q.getTopic().startsWith("%RETRY%")).count();
                return String.valueOf(pull + pop);
            default:
                CONSUMERS.remove(id).shutdown();
                return id;
        }
    }

    private static void subscribe(String id, Map<String, String> options) throws Exception {
        String kind = options.getOrDefault("kind", "concurrent");
        boolean fail = Boolean.parseBoolean(options.get("fail"));
        long lingerMs = Long.parseLong(options.getOrDefault("linger_ms", "0"));
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(options.get("group"));
        consumer.setEnableTrace(Boolean.parseBoolean(options.get("trace")));
        consumer.setNamesrvAddr(options.get("ns"));
        consumer.setInstanceName(id);
        consumer.setHeartbeatBrokerInterval(HEARTBEAT_MS);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setMessageModel(MessageModel.valueOf(options.getOrDefault("model", "CLUSTERING")));
        if (options.containsKey("max_reconsume")) {
            consumer.setMaxReconsumeTimes(Integer.parseInt(options.get("max_reconsume")));
        }
        if (kind.equals("pop")) {
            consumer.setClientRebalance(false);
            consumer.setPopInvisibleTime(10_000);
        }
        if (options.containsKey("sql")) {
            consumer.subscribe(options.get("topic"), MessageSelector.bySql(options.get("sql")));
        } else {
            consumer.subscribe(options.get("topic"), options.getOrDefault("tags", "*"));
        }
        BufferedWriter out = Files.newBufferedWriter(Path.of(options.get("out")));
        if (kind.equals("orderly")) {
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
                taken(out, messages, lingerMs);
                return ConsumeOrderlyStatus.SUCCESS;
            });
        } else {
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                taken(out, messages, lingerMs);
                if (fail) {
                    context.setDelayLevelWhenNextConsume(1);
                    return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                }
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
        }
        CONSUMERS.put(id, consumer);
        consumer.start();
    }

    private static void taken(BufferedWriter out, List<MessageExt> messages, long lingerMs) {
        long arrival = System.currentTimeMillis();
        synchronized (out) {
            try {
                for (MessageExt message : messages) {
                    byte[] body = message.getBody() == null ? new byte[0] : message.getBody();
                    out.write(arrival + "\t" + message.getBrokerName() + "\t" + message.getQueueId() + "\t" + message.getQueueOffset() + "\t"
                        + message.getReconsumeTimes() + "\t" + message.getBornTimestamp() + "\t" + message.getMsgId() + "\t"
                        + text(message.getTags()) + "\t" + text(message.getKeys()) + "\t" + Base64.getEncoder().encodeToString(body) + "\n");
                }
                out.flush();
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        }
        if (lingerMs > 0) {
            try {
                Thread.sleep(lingerMs);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private static String text(String value) {
        return value == null ? "" : Driver.oneLine(value);
    }
}
