package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// consume starts a push consumer that writes a line per delivery to the file out, at once: arrival (ms), broker, queue id, queue offset,
// reconsume times, message id, body. It prints "started" and goes on until standard input ends. With fail every first delivery of a message
// fails, and comes again after a second.
func consume(ns, topic, group, out string, fail bool, user primitive.Credentials) error {
	file, err := os.Create(out)
	if err != nil {
		return err
	}
	defer file.Close()
	options := []consumer.Option{
		consumer.WithNsResolver(primitive.NewPassthroughResolver([]string{ns})),
		consumer.WithGroupName(group),
		consumer.WithConsumerModel(consumer.Clustering),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}
	if user.AccessKey != "" {
		options = append(options, consumer.WithCredentials(user))
	}
	c, err := rocketmq.NewPushConsumer(options...)
	if err != nil {
		return err
	}
	var mutex sync.Mutex
	taken := func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		mutex.Lock()
		defer mutex.Unlock()
		again := false
		for _, m := range messages {
			_, err := fmt.Fprintf(file, "%d\t%s\t%d\t%d\t%d\t%s\t%s\n", time.Now().UnixMilli(), m.Queue.BrokerName, m.Queue.QueueId,
				m.QueueOffset, m.ReconsumeTimes, m.MsgId, m.Body)
			if err != nil {
				return consumer.ConsumeRetryLater, err
			}
			again = again || fail && m.ReconsumeTimes == 0
		}
		if again {
			if concurrently, ok := primitive.GetConcurrentlyCtx(ctx); ok {
				concurrently.DelayLevelWhenNextConsume = 1
			}
			return consumer.ConsumeRetryLater, nil
		}
		return consumer.ConsumeSuccess, nil
	}
	if err := c.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}, taken); err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	fmt.Println("started")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return c.Shutdown()
}
