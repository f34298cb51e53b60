package main

import (
	"bufio"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The figures of the measured phase.
type figures struct {
	Messages     uint64  `json:"messages"`
	Failed       uint64  `json:"failed"`
	FirstFailure string  `json:"first_failure"`
	Seconds      float64 `json:"seconds"`
	P50          uint32  `json:"p50_us"`
	P99          uint32  `json:"p99_us"`
	P999         uint32  `json:"p999_us"`
	CPU          float64 `json:"cpu_us"`
	Watched      float64 `json:"watched_cpu_us"`
	MaxRSS       uint64  `json:"max_rss_bytes"`
}

// A warm-up, then the measured phase, whose start and end read the clocks of time and of the CPU.
type measure struct {
	measuring, over atomic.Bool
	messages        atomic.Uint64
	failed          atomic.Uint64
	mutex           sync.Mutex
	firstFailure    string
	all             []*latencies
	callbacks       latencies
	watch           int
}

// Latencies of one goroutine, in microseconds.
type latencies struct {
	us []uint32
}

func (m *measure) latencies() *latencies {
	l := &latencies{}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.all = append(m.all, l)
	return l
}

func (m *measure) done(l *latencies, started time.Time, count int, err error) {
	if err != nil {
		m.failure(err)
	} else if m.measuring.Load() {
		m.messages.Add(uint64(count))
		l.us = append(l.us, uint32(time.Since(started).Microseconds()))
	}
}

// For callbacks, which run on goroutines of the client.
func (m *measure) shared(started time.Time, err error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if err == nil {
		m.done(&m.callbacks, started, 1, nil)
	} else if m.failed.Add(1) == 1 {
		m.firstFailure = err.Error()
	}
}

func (m *measure) failure(err error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.failed.Add(1) == 1 {
		m.firstFailure = err.Error()
	}
}

func (m *measure) phases(warm, measured time.Duration) (*figures, error) {
	time.Sleep(warm)
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o644); err != nil {
		return nil, err
	}
	watched, err := m.watchedCPUUs()
	if err != nil {
		return nil, err
	}
	cpu, err := cpuUs()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	m.measuring.Store(true)
	time.Sleep(measured)
	m.measuring.Store(false)
	elapsed := time.Since(began)
	after, err := cpuUs()
	if err != nil {
		return nil, err
	}
	watchedAfter, err := m.watchedCPUUs()
	if err != nil {
		return nil, err
	}
	m.over.Store(true)
	// Who saw the phase as open just before may still be writing.
	time.Sleep(20 * time.Millisecond)
	m.mutex.Lock()
	defer m.mutex.Unlock()
	us := m.callbacks.us
	for _, l := range m.all {
		us = append(us, l.us...)
	}
	sort.Slice(us, func(a, b int) bool { return us[a] < us[b] })
	at := func(perMille int) uint32 {
		if len(us) == 0 {
			return 0
		}
		return us[len(us)*perMille/1000]
	}
	return &figures{
		m.messages.Load(), m.failed.Load(), m.firstFailure, elapsed.Seconds(), at(500), at(990), at(999), after - cpu,
		watchedAfter - watched, peakMemory(),
	}, nil
}

// User and system time, which the kernel tells in hundredths of a second.
func (m *measure) watchedCPUUs() (float64, error) {
	if m.watch == 0 {
		return 0, nil
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.watch))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat is too short", m.watch)
	}
	user, err := strconv.ParseFloat(fields[11], 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseFloat(fields[12], 64)
	return (user + system) * 1e4, err
}

func cpuUs() (float64, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, err
	}
	us := func(t syscall.Timeval) float64 { return float64(t.Sec)*1e6 + float64(t.Usec) }
	return us(usage.Utime) + us(usage.Stime), nil
}

func peakMemory() uint64 {
	file, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if rest, found := strings.CutPrefix(lines.Text(), "VmHWM:"); found {
			kib, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib * 1024
		}
	}
	return 0
}
