import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Reads a topic from its beginning, over and over: a thread per queue with {@code DefaultMQPullConsumer} ({@code --mode pull}), or one
 * thread that polls {@code DefaultLitePullConsumer} ({@code --mode lite}).
 */
@SuppressWarnings("deprecation")
final class PullLoad {
    private final String topic;
    private final String mode;
    private final String namesrv;
    private final int batch;
    private final long warmNanos;
    private final long nanos;
    private final Measure measure;

    PullLoad(Bench.Options options) {
        topic = options.text("topic");
        mode = options.text("mode", "pull");
        namesrv = options.text("namesrv");
        batch = options.number("batch", 32);
        warmNanos = options.nanos("warm", 1);
        nanos = options.nanos("seconds", 1);
        measure = new Measure(options.number("watch", 0));
    }

    String run() throws Exception {
        return mode.equals("lite") ? lite() : pull();
    }

    private String pull() throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("bench-java-pull");
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName("bench-" + System.nanoTime());
        consumer.start();
        try {
            List<Thread> workers = new ArrayList<>();
            for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(topic)) {
                long first = consumer.minOffset(queue);
                Thread worker = new Thread(() -> read(consumer, queue, first));
                worker.start();
                workers.add(worker);
            }
            return measure.phases(warmNanos, nanos, () -> join(workers));
        } finally {
            consumer.shutdown();
        }
    }

    private void read(DefaultMQPullConsumer consumer, MessageQueue queue, long first) {
        long offset = first;
        while (measure.goesOn()) {
            try {
                long started = System.nanoTime();
                PullResult result = consumer.pull(queue, "*", offset, batch);
                if (result.getPullStatus() == PullStatus.FOUND) {
                    offset = result.getNextBeginOffset();
                    measure.done(started, result.getMsgFoundList().size());
                } else if (offset == first) {
                    return;
                } else {
                    offset = first;
                }
            } catch (Exception e) {
                measure.failed(e);
            }
        }
    }

    private String lite() throws Exception {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer("bench-java-lite");
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName("bench-" + System.nanoTime());
        consumer.setAutoCommit(false);
        consumer.setPullBatchSize(batch);
        consumer.start();
        try {
            List<MessageQueue> queues = new ArrayList<>(consumer.fetchMessageQueues(topic));
            consumer.assign(queues);
            for (MessageQueue queue : queues) {
                consumer.seekToBegin(queue);
            }
            Thread worker = new Thread(() -> poll(consumer, queues));
            worker.start();
            return measure.phases(warmNanos, nanos, () -> join(Arrays.asList(worker)));
        } finally {
            consumer.shutdown();
        }
    }

    private void poll(DefaultLitePullConsumer consumer, List<MessageQueue> queues) {
        Map<MessageQueue, Boolean> read = new HashMap<>();
        while (measure.goesOn()) {
            try {
                long started = System.nanoTime();
                List<MessageExt> messages = consumer.poll(200);
                if (!messages.isEmpty()) {
                    read.clear();
                    measure.done(started, messages.size());
                } else if (read.isEmpty()) {
                    for (MessageQueue queue : queues) {
                        consumer.seekToBegin(queue);
                        read.put(queue, true);
                    }
                }
            } catch (Exception e) {
                measure.failed(e);
            }
        }
    }

    private void join(List<Thread> workers) {
        try {
            for (Thread worker : workers) {
                worker.join(30_000);
            }
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
