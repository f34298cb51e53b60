// Sends a file's lines with Apache RocketMQ's Go producer, or consumes with its push consumer:
//
//	driver -ns 127.0.0.1:9876 -topic T -mode sync|async|oneway -file lines.txt -acks acks.tsv
//	driver -ns 127.0.0.1:9876 -topic T -group G -out taken.tsv [-fail]
//
// With -access-key and -secret-key both sign what they send.
//
// Every acknowledgement becomes one line of the acks file: broker, queue id, queue offset, message id, offset message id.
// When everything is sent it prints "sent" and keeps its connections until standard input ends: the Go client asks for answers to
// one-way sends too, and a socket that is closed with answers unread is reset, together with what it has not sent yet.
package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

const (
	sendTimeout   = 15 * time.Second
	asyncInFlight = 256
)

func main() {
	ns := flag.String("ns", "", "name server address")
	topic := flag.String("topic", "", "topic")
	mode := flag.String("mode", "sync", "sync, async or oneway")
	file := flag.String("file", "", "one body per line")
	acks := flag.String("acks", "", "where acknowledgements go")
	group := flag.String("group", "", "consume in this group instead of sending")
	out := flag.String("out", "", "where consumed messages go")
	fail := flag.Bool("fail", false, "let every first delivery fail")
	accessKey := flag.String("access-key", "", "user that signs the requests")
	secretKey := flag.String("secret-key", "", "its secret")
	flag.Parse()
	rlog.SetLogLevel("error")
	user := primitive.Credentials{AccessKey: *accessKey, SecretKey: *secretKey}
	var err error
	if *group != "" {
		err = consume(*ns, *topic, *group, *out, *fail, user)
	} else {
		err = run(*ns, *topic, *mode, *file, *acks, user)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "go driver:", err)
		os.Exit(1)
	}
}

func run(ns, topic, mode, file, acks string, user primitive.Credentials) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	out, err := os.Create(acks)
	if err != nil {
		return err
	}
	defer out.Close()
	results := bufio.NewWriter(out)

	options := []producer.Option{
		producer.WithNsResolver(primitive.NewPassthroughResolver([]string{ns})),
		producer.WithGroupName("interop-go-" + mode),
		producer.WithSendMsgTimeout(sendTimeout),
		producer.WithRetry(2),
	}
	if user.AccessKey != "" {
		options = append(options, producer.WithCredentials(user))
	}
	p, err := rocketmq.NewProducer(options...)
	if err != nil {
		return err
	}
	if err := p.Start(); err != nil {
		return err
	}
	if err := send(p, topic, mode, bytes.Split(text, []byte("\n")), results); err != nil {
		return err
	}
	if err := results.Flush(); err != nil {
		return err
	}
	fmt.Println("sent")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return p.Shutdown()
}

func send(p rocketmq.Producer, topic, mode string, lines [][]byte, results *bufio.Writer) error {
	ctx := context.Background()
	permits := make(chan struct{}, asyncInFlight)
	var mutex sync.Mutex
	var failure error
	record := func(result *primitive.SendResult, err error) {
		mutex.Lock()
		defer mutex.Unlock()
		if err == nil && result.Status != primitive.SendOK {
			err = fmt.Errorf("not stored: %v", result)
		}
		if err != nil {
			failure = err
			return
		}
		queue := result.MessageQueue
		fmt.Fprintf(results, "%s\t%d\t%d\t%s\t%s\n", queue.BrokerName, queue.QueueId, result.QueueOffset, result.MsgID, result.OffsetMsgID)
	}
	sent := 0
	for _, line := range lines {
		if len(line) == 0 {
			continue
		}
		message := primitive.NewMessage(topic, line).WithTag("tag-" + mode).WithKeys([]string{"key-" + strconv.Itoa(sent)})
		sent++
		switch mode {
		case "sync":
			record(p.SendSync(ctx, message))
		case "async":
			permits <- struct{}{}
			err := p.SendAsync(ctx, func(_ context.Context, result *primitive.SendResult, err error) {
				record(result, err)
				<-permits
			}, message)
			if err != nil {
				return err
			}
		case "oneway":
			if err := p.SendOneWay(ctx, message); err != nil {
				return err
			}
		default:
			return fmt.Errorf("no such mode: %s", mode)
		}
	}
	for i := 0; i < asyncInFlight; i++ {
		permits <- struct{}{}
	}
	mutex.Lock()
	defer mutex.Unlock()
	return failure
}
