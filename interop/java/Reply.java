import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;

/**
 * {@code request ns topic body timeout_ms}: one request of Java's producer, answered by the reply as JSON;
 * {@code replier ns topic state}: {@code start} begins to answer every request of the topic with its body and {@code " answered by Java"} behind it,
 * {@code stop} ends that.
 */
final class Reply {
    private static final int HEARTBEAT_MS = 1000;
    private static int instances;
    private static DefaultMQProducer replier;
    private static DefaultMQPushConsumer requests;

    static String run(String verb, Map<String, String> options) throws Exception {
        if (verb.equals("request")) {
            return request(options);
        }
        if (options.get("state").equals("start")) {
            start(options);
        } else {
            requests.shutdown();
            replier.shutdown();
        }
        return options.get("state");
    }

    private static String request(Map<String, String> options) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("interop-requester");
        producer.setNamesrvAddr(options.get("ns"));
        producer.setInstanceName("requester-" + (instances++));
        producer.start();
        try {
            Message request = new Message(options.get("topic"), options.get("body").getBytes(StandardCharsets.UTF_8));
            Message reply = producer.request(request, Long.parseLong(options.get("timeout_ms")));
            return RemotingSerializable.toJson(Dump.describe((MessageExt) reply, ""), false);
        } finally {
            producer.shutdown();
        }
    }

    private static void start(Map<String, String> options) throws Exception {
        replier = new DefaultMQProducer("interop-replier");
        replier.setNamesrvAddr(options.get("ns"));
        replier.setInstanceName("replier-" + (instances++));
        replier.start();
        requests = new DefaultMQPushConsumer("interop-replies-to-" + options.get("topic"));
        requests.setNamesrvAddr(options.get("ns"));
        requests.setInstanceName("requests-" + (instances++));
        requests.setHeartbeatBrokerInterval(HEARTBEAT_MS);
        requests.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        requests.subscribe(options.get("topic"), "*");
        requests.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                try {
                    String body = new String(message.getBody(), StandardCharsets.UTF_8) + " answered by Java";
                    replier.send(MessageUtil.createReplyMessage(message, body.getBytes(StandardCharsets.UTF_8)), 3000);
                } catch (Exception e) {
                    e.printStackTrace();
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        requests.start();
    }
}
