import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.acl.common.AclClientRPCHook;
import org.apache.rocketmq.acl.common.SessionCredentials;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.remoting.RPCHook;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * Clients that sign what they send as {@code user} with {@code secret}.
 *
 * <p>{@code signedsend ns topic} answers {@code sent} or the text of the failure; {@code signedpush ns topic group wait_ms} the number of
 * messages that came; {@code signedadmin args out} is {@code admin}.
 */
final class Signed {
    private static int instances;

    static String run(String verb, Map<String, String> options) throws Exception {
        RPCHook hook = new AclClientRPCHook(new SessionCredentials(options.get("user"), options.get("secret")));
        switch (verb) {
            case "signedsend":
                return send(options, hook);
            case "signedpush":
                return push(options, hook);
            default:
                return admin(options, hook);
        }
    }

    private static String send(Map<String, String> options, RPCHook hook) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("interop-signed", hook);
        producer.setNamesrvAddr(options.get("ns"));
        producer.setInstanceName("signed-" + (instances++));
        producer.setSendMsgTimeout(15_000);
        producer.start();
        try {
            producer.send(new Message(options.get("topic"), "signed".getBytes(StandardCharsets.UTF_8)));
            return "sent";
        } catch (MQBrokerException e) {
            return Driver.oneLine("broker " + e.getResponseCode() + " " + e.getErrorMessage());
        } catch (Exception e) {
            StringBuilder all = new StringBuilder("failed");
            for (Throwable cause = e; cause != null; cause = cause.getCause()) {
                all.append(" | ").append(cause);
            }
            return Driver.oneLine(all.toString());
        } finally {
            producer.shutdown();
        }
    }

    private static String push(Map<String, String> options, RPCHook hook) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(null, options.get("group"), hook, new AllocateMessageQueueAveragely());
        consumer.setNamesrvAddr(options.get("ns"));
        consumer.setInstanceName("signed-" + (instances++));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setHeartbeatBrokerInterval(1000);
        consumer.subscribe(options.get("topic"), "*");
        CountDownLatch first = new CountDownLatch(1);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            first.countDown();
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        try {
            return first.await(Long.parseLong(options.get("wait_ms")), TimeUnit.MILLISECONDS) ? "received" : "nothing";
        } finally {
            consumer.shutdown();
        }
    }

    private static String admin(Map<String, String> options, RPCHook hook) throws Exception {
        PrintStream out = System.out;
        PrintStream err = System.err;
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        PrintStream both = new PrintStream(printed, true, StandardCharsets.UTF_8);
        System.setOut(both);
        System.setErr(both);
        try {
            MQAdminStartup.main0(options.get("args").split(" "), hook);
        } finally {
            System.setOut(out);
            System.setErr(err);
        }
        Files.write(Path.of(options.get("out")), printed.toByteArray());
        return String.valueOf(printed.size());
    }
}
