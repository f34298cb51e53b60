// Package orders shows a Go test that has a RocketMQ of its own.
package orders

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// StartServer starts a name server and a broker on free ports and returns the address of the name server. Both are gone, with their data,
// when the test ends. The executable is rocketry on the path, or what the environment variable ROCKETRY names. Tests that run in parallel
// may each have one.
func StartServer(t *testing.T) string {
	t.Helper()
	rocketry := os.Getenv("ROCKETRY")
	if rocketry == "" {
		rocketry = "rocketry"
	}
	command := exec.Command(rocketry, "serve", "--temp", "--namesrv-port", "0", "--output", "json")
	command.Stderr = os.Stderr
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(os.Interrupt)
		late := time.AfterFunc(10*time.Second, func() { _ = command.Process.Kill() })
		defer late.Stop()
		_ = command.Wait()
	})
	var ready struct{ Namesrv string }
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil || ready.Namesrv == "" {
		t.Fatal(fmt.Errorf("%s serve is not ready, its message is on standard error: %q %w", rocketry, line, err))
	}
	return ready.Namesrv
}
