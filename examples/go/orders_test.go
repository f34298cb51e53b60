package orders

import (
	"context"
	"fmt"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

const orders = 10

func TestEveryOrderArrives(t *testing.T) {
	rlog.SetLogLevel("error")
	namesrv := primitive.NewPassthroughResolver([]string{StartServer(t)})

	p, err := rocketmq.NewProducer(producer.WithNsResolver(namesrv), producer.WithGroupName("shop"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < orders; i++ {
		message := primitive.NewMessage("Orders", []byte(fmt.Sprintf("order %d", i)))
		if _, err := p.SendSync(context.Background(), message); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Shutdown(); err != nil {
		t.Fatal(err)
	}

	arrived := make(chan string, 1000)
	c, err := rocketmq.NewPushConsumer(
		consumer.WithNsResolver(namesrv),
		consumer.WithGroupName("billing"),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Subscribe("Orders", consumer.MessageSelector{}, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, message := range messages {
			arrived <- string(message.Body)
		}
		return consumer.ConsumeSuccess, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Shutdown() }()
	received := map[string]bool{}
	for len(received) < orders {
		select {
		case body := <-arrived:
			received[body] = true
		case <-time.After(60 * time.Second):
			t.Fatalf("only %v arrived", received)
		}
	}
	for i := 0; i < orders; i++ {
		if body := fmt.Sprintf("order %d", i); !received[body] {
			t.Errorf("%s is missing in %v", body, received)
		}
	}
}
