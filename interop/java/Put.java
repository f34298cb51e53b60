import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.selector.SelectMessageQueueByHash;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * {@code put ns topic body [tag] [key] [count] [keys] [level] [delay_ms] [trace] [property.NAME]}: sends a message, or {@code count} of them
 * with their number behind the body; with {@code keys} each goes to the queue of its key, one of so many, and is the key's next.
 * Answers the id of the last.
 *
 * <p>{@code transact ns topic decision}: sends one in a transaction that ends with {@code decision}, COMMIT_MESSAGE, ROLLBACK_MESSAGE or
 * UNKNOW; a check of the broker is answered with a commit. {@code checks}: the bodies that were checked.
 */
final class Put {
    private static final int SEND_TIMEOUT_MS = 15_000;
    private static final Map<String, DefaultMQProducer> PRODUCERS = new HashMap<>();
    private static final StringBuffer CHECKED = new StringBuffer();
    private static final AtomicInteger INSTANCES = new AtomicInteger();
    private static TransactionMQProducer transactions;

    static String run(String verb, Map<String, String> options) throws Exception {
        switch (verb) {
            case "put":
                return put(options);
            case "transact":
                return transact(options);
            default:
                return CHECKED.toString();
        }
    }

    private static String put(Map<String, String> options) throws Exception {
        DefaultMQProducer producer = producer(options);
        int count = Integer.parseInt(options.getOrDefault("count", "1"));
        int keys = Integer.parseInt(options.getOrDefault("keys", "0"));
        SendResult result = null;
        for (int i = 0; i < count; i++) {
            String body = options.get("body") + (count == 1 ? "" : "-" + i);
            Message message = new Message(options.get("topic"), body.getBytes(StandardCharsets.UTF_8));
            message.setTags(options.get("tag"));
            message.setKeys(keys == 0 ? options.getOrDefault("key", "") : "key-" + i % keys);
            if (options.containsKey("level")) {
                message.setDelayTimeLevel(Integer.parseInt(options.get("level")));
            }
            if (options.containsKey("delay_ms")) {
                message.setDelayTimeMs(Long.parseLong(options.get("delay_ms")));
            }
            options.forEach((name, value) -> {
                if (name.startsWith("property.")) {
                    message.putUserProperty(name.substring("property.".length()), value);
                }
            });
            result = keys == 0 ? producer.send(message) : producer.send(message, new SelectMessageQueueByHash(), "key-" + i % keys);
            if (result.getSendStatus() != SendStatus.SEND_OK) {
                throw new IllegalStateException("not stored: " + result);
            }
        }
        return result.getMsgId();
    }

    private static DefaultMQProducer producer(Map<String, String> options) throws Exception {
        boolean trace = Boolean.parseBoolean(options.get("trace"));
        String name = options.get("ns") + trace;
        if (!PRODUCERS.containsKey(name)) {
            DefaultMQProducer producer = new DefaultMQProducer("interop-put" + (trace ? "-traced" : ""));
            producer.setEnableTrace(trace);
            producer.setNamesrvAddr(options.get("ns"));
            producer.setInstanceName("put-" + INSTANCES.getAndIncrement());
            producer.setSendMsgTimeout(SEND_TIMEOUT_MS);
            producer.start();
            PRODUCERS.put(name, producer);
        }
        return PRODUCERS.get(name);
    }

    private static String transact(Map<String, String> options) throws Exception {
        if (transactions == null) {
            transactions = new TransactionMQProducer("interop-transactions");
            transactions.setNamesrvAddr(options.get("ns"));
            transactions.setInstanceName("transactions");
            transactions.setSendMsgTimeout(SEND_TIMEOUT_MS);
            transactions.setHeartbeatBrokerInterval(1000);
            transactions.setTransactionListener(new TransactionListener() {
                @Override
                public LocalTransactionState executeLocalTransaction(Message message, Object decision) {
                    return LocalTransactionState.valueOf((String) decision);
                }

                @Override
                public LocalTransactionState checkLocalTransaction(MessageExt message) {
                    CHECKED.append(new String(message.getBody(), StandardCharsets.UTF_8)).append(' ');
                    return LocalTransactionState.COMMIT_MESSAGE;
                }
            });
            transactions.start();
        }
        String decision = options.get("decision");
        Message message = new Message(options.get("topic"), decision.getBytes(StandardCharsets.UTF_8));
        return transactions.sendMessageInTransaction(message, decision).getMsgId();
    }
}
