import java.nio.charset.StandardCharsets;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;

/**
 * A test of code that uses Apache's Java client, without a test framework: with JUnit, {@code everyOrderArrives} is the test, and the server
 * is opened before and closed after it.
 */
public final class OrdersTest {
    private static final int ORDERS = 10;

    public static void main(String[] args) throws Exception {
        int status = 0;
        try (RocketryServer server = new RocketryServer()) {
            everyOrderArrives(server.namesrv());
            System.out.println("ok");
        } catch (Throwable failure) {
            failure.printStackTrace();
            status = 1;
        }
        System.exit(status); // the client's threads would keep the process
    }

    static void everyOrderArrives(String namesrv) throws Exception {
        Set<String> sent = new TreeSet<>();
        DefaultMQProducer producer = new DefaultMQProducer("shop");
        producer.setNamesrvAddr(namesrv);
        producer.start();
        for (int i = 0; i < ORDERS; i++) {
            SendResult result = producer.send(new Message("Orders", ("order " + i).getBytes(StandardCharsets.UTF_8)));
            check(result.getSendStatus() == SendStatus.SEND_OK, "not stored: " + result);
            sent.add("order " + i);
        }
        producer.shutdown();

        BlockingQueue<String> arrived = new LinkedBlockingQueue<>();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("billing");
        consumer.setNamesrvAddr(namesrv);
        consumer.setHeartbeatBrokerInterval(1000); // the broker knows the consumer at once, not after the first 30 s
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe("Orders", "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> arrived.add(new String(message.getBody(), StandardCharsets.UTF_8)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Set<String> received = new TreeSet<>();
        while (received.size() < ORDERS) {
            String body = arrived.poll(60, TimeUnit.SECONDS);
            check(body != null, "only " + received + " arrived");
            received.add(body);
        }
        consumer.shutdown();
        check(received.equals(sent), "received " + received);
    }

    private static void check(boolean holds, String otherwise) {
        if (!holds) {
            throw new AssertionError(otherwise);
        }
    }
}
