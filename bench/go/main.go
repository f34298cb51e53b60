// Measures Apache RocketMQ's Go producer:
//
//	go-bench produce --namesrv 127.0.0.1:9876 --topic T --mode sync|async|oneway|batch --in-flight 64 --size 1024 --warm 1 --seconds 3
//
// It prints one line of JSON: the messages of the measured phase, what they cost this process, and their latencies.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

const sendTimeout = 10 * time.Second

type options struct {
	namesrv, topic, mode, compress string
	inFlight, batch, size, watch   int
	warm, seconds                  float64
}

func main() {
	if len(os.Args) < 2 || os.Args[1] != "produce" {
		fail(fmt.Errorf("the only verb is produce: %v", os.Args[1:]))
	}
	var o options
	flags := flag.NewFlagSet("produce", flag.ExitOnError)
	flags.StringVar(&o.namesrv, "namesrv", "", "name server address")
	flags.StringVar(&o.topic, "topic", "", "topic")
	flags.StringVar(&o.mode, "mode", "sync", "sync, async, oneway or batch")
	flags.StringVar(&o.compress, "compress", "none", "none or zlib")
	flags.IntVar(&o.inFlight, "in-flight", 1, "goroutines, or the window of asynchronous sends")
	flags.IntVar(&o.batch, "batch", 32, "messages of a batch")
	flags.IntVar(&o.size, "size", 1024, "bytes of a body")
	flags.IntVar(&o.watch, "watch", 0, "process whose CPU time is measured as well")
	flags.Float64Var(&o.warm, "warm", 1, "seconds before the measured phase")
	flags.Float64Var(&o.seconds, "seconds", 1, "seconds of the measured phase")
	if err := flags.Parse(os.Args[2:]); err != nil {
		fail(err)
	}
	rlog.SetLogLevel("error")
	figures, err := run(o)
	if err != nil {
		fail(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(figures); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "go-bench:", err)
	os.Exit(1)
}

func run(o options) (*figures, error) {
	configured := []producer.Option{
		producer.WithNsResolver(primitive.NewPassthroughResolver([]string{o.namesrv})),
		producer.WithGroupName("bench-go"),
		producer.WithSendMsgTimeout(sendTimeout),
		producer.WithRetry(2),
	}
	switch o.compress {
	case "none":
		configured = append(configured, producer.WithCompressMsgBodyOverHowmuch(1<<30))
	case "zlib":
		configured = append(configured, producer.WithCompressMsgBodyOverHowmuch(1), producer.WithCompressLevel(5))
	default:
		return nil, fmt.Errorf("the Go client does not compress with %s", o.compress)
	}
	switch o.mode {
	case "sync", "async", "oneway", "batch":
	default:
		return nil, fmt.Errorf("the Go client has no mode %s", o.mode)
	}
	p, err := rocketmq.NewProducer(configured...)
	if err != nil {
		return nil, err
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	// Callers that ask for an unknown route at the same time are told that there is none: the first message asks alone.
	first := primitive.NewMessage(o.topic, body(o.size, false))
	for attempt := 0; ; attempt++ {
		if _, err := p.SendSync(context.Background(), first); err == nil {
			break
		} else if attempt == 20 {
			return nil, err
		}
		time.Sleep(100 * time.Millisecond)
	}
	m := &measure{watch: o.watch}
	l := load{o, p, m, body(o.size, o.compress != "none"), make(chan struct{}, o.inFlight)}
	var workers sync.WaitGroup
	threads := o.inFlight
	if o.mode == "async" {
		threads = 1
	}
	for i := 0; i < threads; i++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			l.work()
		}()
	}
	figures, err := m.phases(seconds(o.warm), seconds(o.seconds))
	if err != nil {
		return nil, err
	}
	workers.Wait()
	for i := 0; i < o.inFlight; i++ {
		l.window <- struct{}{}
	}
	return figures, p.Shutdown()
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second))
}

type load struct {
	options
	producer rocketmq.Producer
	measure  *measure
	body     []byte
	window   chan struct{}
}

func (l *load) work() {
	ctx := context.Background()
	latencies := l.measure.latencies()
	for !l.measure.over.Load() {
		started := time.Now()
		switch l.mode {
		case "async":
			l.window <- struct{}{}
			started = time.Now()
			err := l.producer.SendAsync(ctx, func(_ context.Context, result *primitive.SendResult, err error) {
				l.measure.shared(started, stored(result, err))
				<-l.window
			}, l.message())
			if err != nil {
				l.measure.failure(err)
				<-l.window
			}
		case "oneway":
			l.measure.done(latencies, started, 1, l.producer.SendOneWay(ctx, l.message()))
		case "batch":
			messages := make([]*primitive.Message, l.batch)
			for i := range messages {
				messages[i] = l.message()
			}
			result, err := l.producer.SendSync(ctx, messages...)
			l.measure.done(latencies, started, l.batch, stored(result, err))
		default:
			result, err := l.producer.SendSync(ctx, l.message())
			l.measure.done(latencies, started, 1, stored(result, err))
		}
	}
}

func (l *load) message() *primitive.Message {
	return primitive.NewMessage(l.topic, l.body)
}

func stored(result *primitive.SendResult, err error) error {
	if err == nil && result.Status != primitive.SendOK {
		return fmt.Errorf("not stored: %v", result)
	}
	return err
}

// The same every time: random bytes, or words that compress.
func body(size int, text bool) []byte {
	random := rand.New(rand.NewSource(9876))
	body := make([]byte, 0, size+16)
	words := []string{"order", "created", "payment", "customer", "amount", "currency", "shipped", "address", "status", "pending",
		"item", "quantity", "price", "total", "region", "timestamp"}
	for len(body) < size {
		if text {
			body = append(body, words[random.Intn(len(words))]...)
			body = append(body, ' ')
		} else {
			body = append(body, byte(random.Intn(256)))
		}
	}
	return body[:size]
}
