import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.AckCallback;
import org.apache.rocketmq.client.consumer.AckResult;
import org.apache.rocketmq.client.consumer.AckStatus;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PopCallback;
import org.apache.rocketmq.client.consumer.PopResult;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.impl.factory.MQClientInstance;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;
import org.apache.rocketmq.remoting.protocol.admin.TopicOffset;
import org.apache.rocketmq.remoting.protocol.header.AckMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ExtraInfoUtil;
import org.apache.rocketmq.remoting.protocol.header.PopMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * Everything a broker keeps in its directory, written and looked at with Apache's clients, round by round.
 *
 * <p>{@code takeover-settled ns broker name round}: what rests once it is written: plain, batch, compressed and priority messages,
 * groups' offsets, a dead letter, transactions that are decided. {@code takeover-pending ns broker name round wait_ms}: what waits:
 * delay levels, times, undecided transactions, popped messages, a retry. Both answer a JSON list of what was sent, one object per
 * message: {@code topic key bytes}, and of what waits {@code from_ms until_ms}, between which it falls due.
 * {@code takeover-state ns topics groups} is what Java's tools count, {@code takeover-decide ns round count wait_ms} commits what it is
 * asked about, {@code takeover-pop ns broker name count wait_ms} takes and acknowledges what is there to be popped,
 * {@code takeover-recall ns handle} takes a timed message back.
 */
final class Takeover {
    private static final int PLAIN = 150;
    private static final int BATCH = 20;
    private static final int GROUP = 20;
    private static final int POPS = 6;
    private static final int TIMEOUT_MS = 10_000;
    /** Of Java's default levels. */
    private static final Map<Integer, Integer> LEVEL_MS = Map.of(3, 10_000, 4, 30_000);
    private static final String PRODUCER = "tk-producer";
    private static final String POP_GROUP = "tk-pop";
    private static final String RETRY_GROUP = "tk-retry";
    private static final String TX_GROUP = "tk-tx";
    private static int instances;

    static String run(String verb, Map<String, String> options) throws Exception {
        switch (verb) {
            case "takeover-settled":
                return settled(options);
            case "takeover-pending":
                return pending(options);
            case "takeover-state":
                return state(options);
            case "takeover-decide":
                return decide(options);
            case "takeover-pop":
                return pop(options);
            case "takeover-recall":
                return recall(options);
            default:
                throw new IllegalArgumentException(verb);
        }
    }

    private static String instance() {
        return "takeover-" + (instances++);
    }

    /** What was sent, as Rust is to know it. */
    private static final class Sent {
        final List<Map<String, Object>> rows = new ArrayList<>();

        void add(Message message, long fromMs, long untilMs) {
            Map<String, Object> row = new LinkedHashMap<>();
            row.put("topic", message.getTopic());
            row.put("key", message.getKeys());
            row.put("bytes", message.getBody().length);
            if (fromMs > 0) {
                row.put("from_ms", fromMs);
                row.put("until_ms", untilMs);
            }
            rows.add(row);
        }

        void add(Message message) {
            add(message, 0, 0);
        }
    }

    /** A message whose body is its key, again and again: whoever knows the key and the length knows the body. */
    private static Message message(String topic, String key, int bytes) {
        StringBuilder body = new StringBuilder(key);
        while (body.length() < bytes) {
            body.append(' ').append(key);
        }
        body.setLength(bytes);
        return new Message(topic, "tag-" + key.length() % 3, key, body.toString().getBytes(StandardCharsets.US_ASCII));
    }

    private static DefaultMQProducer producer(String ns) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(PRODUCER);
        producer.setNamesrvAddr(ns);
        producer.setInstanceName(instance());
        producer.setSendMsgTimeout(TIMEOUT_MS);
        producer.start();
        return producer;
    }

    private static SendResult stored(SendResult result) {
        if (result.getSendStatus() != SendStatus.SEND_OK) {
            throw new IllegalStateException("not stored: " + result);
        }
        return result;
    }

    private static DefaultMQAdminExt admin(String ns) throws Exception {
        DefaultMQAdminExt admin = new DefaultMQAdminExt(TIMEOUT_MS);
        admin.setNamesrvAddr(ns);
        admin.setInstanceName(instance());
        admin.start();
        return admin;
    }

    private static DefaultMQPullConsumer consumer(String ns, String group) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group);
        consumer.setNamesrvAddr(ns);
        consumer.setInstanceName(instance());
        consumer.start();
        return consumer;
    }

    private static void topic(DefaultMQAdminExt admin, String broker, String name, int queues, Map<String, String> attributes)
        throws Exception {
        TopicConfig config = new TopicConfig(name, queues, queues);
        config.setAttributes(attributes);
        admin.createAndUpdateTopicConfig(broker, config);
    }

    private static String settled(Map<String, String> options) throws Exception {
        String ns = options.get("ns");
        String broker = options.get("broker");
        String round = options.get("round");
        Sent sent = new Sent();
        DefaultMQAdminExt admin = admin(ns);
        DefaultMQProducer producer = null;
        try {
            for (String name : List.of("tk_plain", "tk_batch", "tk_zip", "tk_delay", "tk_timer", "tk_tx", "tk_group")) {
                topic(admin, broker, name, 2, new HashMap<>());
            }
            topic(admin, broker, "tk_pop", 1, new HashMap<>());
            topic(admin, broker, "tk_retry", 1, new HashMap<>());
            topic(admin, broker, "tk_prio", 4, Map.of("+message.type", "PRIORITY"));
            for (String name : List.of("tk-at-end", "tk-in-the-middle")) {
                SubscriptionGroupConfig group = new SubscriptionGroupConfig();
                group.setGroupName(name);
                admin.createAndUpdateSubscriptionGroupConfig(broker, group);
            }
            producer = producer(ns);
            producer.setCompressMsgBodyOverHowmuch(4096);
            for (int i = 0; i < PLAIN; i++) {
                Message message = message("tk_plain", round + "-plain-" + i, 200 + i);
                stored(producer.send(message));
                sent.add(message);
            }
            for (int b = 0; b < 3; b++) {
                List<Message> batch = new ArrayList<>();
                for (int i = 0; i < BATCH; i++) {
                    batch.add(message("tk_batch", round + "-batch-" + b + "-" + i, 100 + i));
                }
                stored(producer.send(batch));
                batch.forEach(sent::add);
            }
            for (int i = 0; i < 5; i++) {
                Message message = message("tk_zip", round + "-zip-" + i, 20_000 + i);
                stored(producer.send(message));
                sent.add(message);
            }
            for (int i = 0; i < 4; i++) {
                Message message = message("tk_prio", round + "-prio-" + i, 50);
                message.setPriority(i);
                stored(producer.send(message));
                sent.add(message);
            }
            for (int i = 0; i < GROUP; i++) {
                Message message = message("tk_group", round + "-group-a-" + i, 60);
                stored(producer.send(message));
                sent.add(message);
            }
            for (MessageQueue queue : producer.fetchPublishMessageQueues("tk_plain")) {
                long end = admin.maxOffset(queue);
                admin.updateConsumeOffset(broker, "tk-at-end", queue, end);
                admin.updateConsumeOffset(broker, "tk-in-the-middle", queue, end / 2);
            }
            deadLetter(ns, producer, round, sent);
            decided(ns, round, sent);
        } finally {
            if (producer != null) {
                producer.shutdown();
            }
            admin.shutdown();
        }
        return RemotingSerializable.toJson(sent.rows, false);
    }

    /** A message that its consumer gives back for good. */
    private static void deadLetter(String ns, DefaultMQProducer producer, String round, Sent sent) throws Exception {
        Message message = message("tk_retry", round + "-dead", 70);
        SendResult result = stored(producer.send(message));
        sent.add(message);
        back(ns, result, -1);
        message.setTopic("%DLQ%" + RETRY_GROUP);
        sent.add(message);
    }

    private static void back(String ns, SendResult result, int level) throws Exception {
        DefaultMQPullConsumer consumer = consumer(ns, RETRY_GROUP);
        try {
            MessageQueue queue = result.getMessageQueue();
            PullResult pulled = consumer.pull(queue, "*", result.getQueueOffset(), 1);
            consumer.sendMessageBack(pulled.getMsgFoundList().get(0), level, queue.getBrokerName());
        } finally {
            consumer.shutdown();
        }
    }

    /** Decides at once, by the text of the key; what it is asked about later is not decided. */
    private static TransactionMQProducer transactions(String ns, TransactionListener listener) throws Exception {
        TransactionMQProducer producer = new TransactionMQProducer(TX_GROUP);
        producer.setNamesrvAddr(ns);
        producer.setInstanceName(instance());
        producer.setSendMsgTimeout(TIMEOUT_MS);
        producer.setTransactionListener(listener);
        producer.start();
        return producer;
    }

    private static final class Scripted implements TransactionListener {
        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object arg) {
            return (LocalTransactionState) arg;
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            return LocalTransactionState.UNKNOW;
        }
    }

    private static void decided(String ns, String round, Sent sent) throws Exception {
        TransactionMQProducer producer = transactions(ns, new Scripted());
        try {
            for (int i = 0; i < 2; i++) {
                Message message = message("tk_tx", round + "-committed-" + i, 80);
                stored(producer.sendMessageInTransaction(message, LocalTransactionState.COMMIT_MESSAGE));
                sent.add(message);
            }
            Message dropped = message("tk_tx", round + "-rolled-back", 80);
            stored(producer.sendMessageInTransaction(dropped, LocalTransactionState.ROLLBACK_MESSAGE));
        } finally {
            producer.shutdown();
        }
    }

    private static String pending(Map<String, String> options) throws Exception {
        String ns = options.get("ns");
        String round = options.get("round");
        int waitMs = Integer.parseInt(options.get("wait_ms"));
        Sent sent = new Sent();
        Sent recalled = new Sent();
        DefaultMQProducer producer = producer(ns);
        String handle;
        try {
            for (int i = 0; i < GROUP; i++) {
                Message message = message("tk_group", round + "-group-b-" + i, 60);
                stored(producer.send(message));
                sent.add(message);
            }
            for (int level : new TreeSet<>(LEVEL_MS.keySet())) {
                for (int i = 0; i < 2; i++) {
                    Message message = message("tk_delay", round + "-level-" + level + "-" + i, 90);
                    message.setDelayTimeLevel(level);
                    long before = System.currentTimeMillis();
                    stored(producer.send(message));
                    sent.add(message, before + LEVEL_MS.get(level), System.currentTimeMillis() + LEVEL_MS.get(level));
                }
            }
            for (int ms : List.of(10_000, waitMs, waitMs + 1500)) {
                Message message = message("tk_timer", round + "-timer-" + ms, 90);
                long dueMs = System.currentTimeMillis() + ms;
                message.setDeliverTimeMs(dueMs);
                stored(producer.send(message));
                // a slot of a second may come up to its width early
                sent.add(message, dueMs - 1000, dueMs);
            }
            Message timed = message("tk_timer", round + "-recalled", 90);
            long due = System.currentTimeMillis() + waitMs + 45_000;
            timed.setDeliverTimeMs(due);
            handle = stored(producer.send(timed)).getRecallHandle();
            recalled.add(timed, due - 1000, due);

            SendResult result = stored(producer.send(message("tk_retry", round + "-again", 70)));
            sent.add(message("tk_retry", round + "-again", 70));
            long before = System.currentTimeMillis();
            back(ns, result, 4);
            sent.add(message("%RETRY%" + RETRY_GROUP, round + "-again", 70), before + LEVEL_MS.get(4),
                System.currentTimeMillis() + LEVEL_MS.get(4));

            for (int i = 0; i < POPS; i++) {
                Message message = message("tk_pop", round + "-pop-" + i, 70);
                stored(producer.send(message));
                sent.add(message);
            }
            before = System.currentTimeMillis();
            List<MessageExt> popped = popped(ns, options, POPS, TIMEOUT_MS, waitMs, message -> message.getKeys().endsWith("0")
                || message.getKeys().endsWith("2") || message.getKeys().endsWith("4"));
            long after = System.currentTimeMillis();
            for (MessageExt message : popped) {
                if (!message.getKeys().startsWith(round + "-pop-")) {
                    throw new IllegalStateException("popped " + message + " in round " + round);
                }
                int number = message.getKeys().charAt(message.getKeys().length() - 1) - '0';
                if (number % 2 == 1) {
                    message.setTopic("%RETRY%" + POP_GROUP + "_tk_pop");
                    sent.add(message, before + waitMs - 1000, after + waitMs);
                }
            }
        } finally {
            producer.shutdown();
        }
        TransactionMQProducer undecided = transactions(ns, new Scripted());
        try {
            for (int i = 0; i < 2; i++) {
                Message message = message("tk_tx", round + "-undecided-" + i, 80);
                stored(undecided.sendMessageInTransaction(message, LocalTransactionState.UNKNOW));
                sent.add(message);
            }
        } finally {
            undecided.shutdown();
        }
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("sent", sent.rows);
        answer.put("handle", handle);
        answer.put("recalled", recalled.rows.get(0));
        return RemotingSerializable.toJson(answer, false);
    }

    /** What Java's tools count: of each queue the least and the next offset, of each group and queue where it is. */
    private static String state(Map<String, String> options) throws Exception {
        String ns = options.get("ns");
        Map<String, Object> counts = new TreeMap<>();
        DefaultMQAdminExt admin = admin(ns);
        try {
            for (String topic : options.get("topics").split(" ")) {
                for (Map.Entry<MessageQueue, TopicOffset> queue : admin.examineTopicStats(topic).getOffsetTable().entrySet()) {
                    TopicOffset offsets = queue.getValue();
                    counts.put(topic + "/" + queue.getKey().getQueueId(), offsets.getMinOffset() + ".." + offsets.getMaxOffset());
                }
            }
        } finally {
            admin.shutdown();
        }
        for (String pair : options.get("groups").split(" ")) {
            String topic = pair.substring(pair.indexOf('@') + 1);
            DefaultMQPullConsumer consumer = consumer(ns, pair.substring(0, pair.indexOf('@')));
            try {
                for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(topic)) {
                    counts.put(pair + "/" + queue.getQueueId(), String.valueOf(consumer.fetchConsumeOffset(queue, true)));
                }
            } finally {
                consumer.shutdown();
            }
        }
        return RemotingSerializable.toJson(counts, false);
    }

    /** Commits what it is asked about, until that were {@code count} messages; answers their keys, one for each check. */
    private static String decide(Map<String, String> options) throws Exception {
        int count = Integer.parseInt(options.get("count"));
        TreeSet<String> asked = new TreeSet<>();
        TransactionMQProducer producer = transactions(options.get("ns"), new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object arg) {
                return LocalTransactionState.UNKNOW;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                synchronized (asked) {
                    asked.add(message.getKeys());
                    asked.notifyAll();
                }
                return LocalTransactionState.COMMIT_MESSAGE;
            }
        });
        try {
            MQClientInstance client = producer.getDefaultMQProducerImpl().getMqClientFactory();
            client.updateTopicRouteInfoFromNameServer("tk_tx");
            long end = System.currentTimeMillis() + Long.parseLong(options.get("wait_ms"));
            synchronized (asked) {
                while (asked.size() < count && System.currentTimeMillis() < end) {
                    // a broker asks groups that it was told of
                    client.sendHeartbeatToAllBrokerWithLock();
                    asked.wait(1000);
                }
            }
            // the decisions are on their way
            Thread.sleep(300);
        } finally {
            producer.shutdown();
        }
        return RemotingSerializable.toJson(asked, false);
    }

    /** The keys of {@code count} popped messages, which are acknowledged, with the times they were taken before. */
    private static String pop(Map<String, String> options) throws Exception {
        List<MessageExt> popped = popped(options.get("ns"), options, Integer.parseInt(options.get("count")),
            Long.parseLong(options.get("wait_ms")), 60_000, message -> true);
        TreeSet<String> keys = new TreeSet<>();
        for (MessageExt message : popped) {
            keys.add(message.getKeys() + " " + message.getTopic() + " " + message.getReconsumeTimes());
        }
        return RemotingSerializable.toJson(keys, false);
    }

    private interface Which {
        boolean is(MessageExt message);
    }

    private static List<MessageExt> popped(String ns, Map<String, String> options, int count, long waitMs, long invisibleMs,
        Which acknowledged) throws Exception {
        String broker = options.get("broker");
        String name = options.get("name");
        List<MessageExt> all = new ArrayList<>();
        DefaultMQAdminExt admin = admin(ns);
        try {
            MQClientAPIImpl api = admin.getDefaultMQAdminExtImpl().getMqClientInstance().getMQClientAPIImpl();
            long end = System.currentTimeMillis() + waitMs;
            while (all.size() < count && System.currentTimeMillis() < end) {
                PopMessageRequestHeader header = new PopMessageRequestHeader();
                header.setConsumerGroup(POP_GROUP);
                header.setTopic("tk_pop");
                header.setQueueId(-1);
                header.setMaxMsgNums(32);
                header.setInvisibleTime(invisibleMs);
                header.setPollTime(1000);
                header.setBornTime(System.currentTimeMillis());
                header.setInitMode(0);
                header.setExpType("TAG");
                header.setExp("*");
                header.setOrder(false);
                CompletableFuture<PopResult> result = new CompletableFuture<>();
                api.popMessageAsync(name, broker, header, TIMEOUT_MS, new PopCallback() {
                    @Override
                    public void onSuccess(PopResult popResult) {
                        result.complete(popResult);
                    }

                    @Override
                    public void onException(Throwable e) {
                        result.completeExceptionally(e);
                    }
                });
                List<MessageExt> found = result.get(TIMEOUT_MS, TimeUnit.MILLISECONDS).getMsgFoundList();
                if (found == null) {
                    continue;
                }
                for (MessageExt message : found) {
                    all.add(message);
                    if (acknowledged.is(message)) {
                        acknowledge(api, broker, message);
                    }
                }
            }
            return all;
        } finally {
            admin.shutdown();
        }
    }

    private static void acknowledge(MQClientAPIImpl api, String broker, MessageExt message) throws Exception {
        String receipt = message.getProperty(MessageConst.PROPERTY_POP_CK);
        String[] parts = ExtraInfoUtil.split(receipt);
        AckMessageRequestHeader header = new AckMessageRequestHeader();
        header.setTopic(ExtraInfoUtil.getRealTopic(parts, "tk_pop", POP_GROUP));
        header.setQueueId(ExtraInfoUtil.getQueueId(parts));
        header.setOffset(ExtraInfoUtil.getQueueOffset(parts));
        header.setConsumerGroup(POP_GROUP);
        header.setExtraInfo(receipt);
        CompletableFuture<AckResult> result = new CompletableFuture<>();
        api.ackMessageAsync(broker, TIMEOUT_MS, new AckCallback() {
            @Override
            public void onSuccess(AckResult ackResult) {
                result.complete(ackResult);
            }

            @Override
            public void onException(Throwable e) {
                result.completeExceptionally(e);
            }
        }, header);
        if (result.get(TIMEOUT_MS, TimeUnit.MILLISECONDS).getStatus() != AckStatus.OK) {
            throw new IllegalStateException("not acknowledged: " + receipt);
        }
    }

    private static String recall(Map<String, String> options) throws Exception {
        DefaultMQProducer producer = producer(options.get("ns"));
        try {
            return producer.recallMessage("tk_timer", options.get("handle"));
        } finally {
            producer.shutdown();
        }
    }
}
