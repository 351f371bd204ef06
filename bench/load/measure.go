package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claude-grpc/claude-grpc/bench/stamp"
)

const (
	// Streams of a load are opened one after the other, this far apart, and waited for at most so long.
	openingInterval = 2 * time.Millisecond
	openingPatience = 10 * time.Second
	// No call is without a deadline.
	streamDeadline = 2 * time.Minute
	// Streams go on so long after the measurement, and are then waited for so long: what a gateway makes of a cancel
	// is not measured here, and one that goes on reading would spoil what is measured next.
	spareTime      = 500 * time.Millisecond
	endingPatience = 2 * time.Second
)

// result is what is printed. Times are milliseconds; "cpu" and "rss" are those of the measured process tree.
type result struct {
	Opened       int        `json:"opened"`
	Window       float64    `json:"window_s"`
	Events       int        `json:"events"`
	EventsPerS   float64    `json:"events_per_s"`
	MessagesPerS float64    `json:"messages_per_s"`
	Delay        *quantiles `json:"delay_ms,omitempty"`
	Calls        int        `json:"calls"`
	CallsPerS    float64    `json:"calls_per_s"`
	Latency      *quantiles `json:"latency_ms,omitempty"`
	ImageLatency *quantiles `json:"image_latency_ms,omitempty"`
	First        *quantiles `json:"first_ms,omitempty"`
	CPU          float64    `json:"cpu_s"`
	RSS          float64    `json:"rss_mb"`
	Lost         int        `json:"lost"`
	Errors       int        `json:"errors"`
	Error        string     `json:"error,omitempty"`
}

type quantiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

func newQuantiles(times []time.Duration) *quantiles {
	if len(times) == 0 {
		return nil
	}
	slices.Sort(times)
	at := func(share float64) float64 {
		return times[int(share*float64(len(times)-1))].Seconds() * 1000
	}
	return &quantiles{at(0.5), at(0.99)}
}

// tally is what one goroutine has seen within the window of measurement.
type tally struct {
	times    []time.Duration
	messages int
	lost     int
}

// run is a load under way.
type run struct {
	api       api
	o         options
	measuring atomic.Bool
	ending    atomic.Bool
	opened    atomic.Int32
	streaming sync.WaitGroup
	working   sync.WaitGroup

	mutex  sync.Mutex
	errors int
	first  error
}

// underLoad opens all streams, starts all calls, and measures for a while.
func underLoad(api api, o options) (*result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), streamDeadline)
	defer cancel()
	r := &run{api: api, o: o}
	streams := r.openStreams(ctx)
	calls := r.start(ctx, o.inflight, 0, api.create)
	var images []*tally
	if o.images > 0 {
		images = r.start(ctx, 1, time.Duration(float64(time.Second)/o.images), api.createWithImage)
	}

	time.Sleep(o.warmup)
	before, began := treeUsage(o.pid), time.Now()
	r.measuring.Store(true)
	time.Sleep(o.window)
	r.measuring.Store(false)
	after, window := treeUsage(o.pid), time.Since(began)
	opened := int(r.opened.Load())
	r.ending.Store(true)
	waitAtMost(&r.streaming, endingPatience)
	cancel()
	r.streaming.Wait()
	r.working.Wait()

	s, c, i := merge(streams), merge(calls), merge(images)
	out := &result{
		Opened: opened, Window: window.Seconds(),
		Events: len(s.times), EventsPerS: float64(len(s.times)) / window.Seconds(),
		MessagesPerS: float64(s.messages) / window.Seconds(), Delay: newQuantiles(s.times), Lost: s.lost,
		Calls: len(c.times), CallsPerS: float64(len(c.times)) / window.Seconds(), Latency: newQuantiles(c.times),
		ImageLatency: newQuantiles(i.times),
		CPU:          (after.cpu - before.cpu).Seconds(), RSS: float64(after.resident) / 1e6,
		Errors: r.errors,
	}
	if r.first != nil {
		out.Error = r.first.Error()
	}
	return out, nil
}

// openStreams opens the streams and waits until each has begun, or patience ends.
func (r *run) openStreams(ctx context.Context) []*tally {
	tallies := make([]*tally, r.o.streams)
	for n := range tallies {
		tallies[n] = &tally{}
		r.streaming.Go(func() { r.keepStream(ctx, tallies[n]) })
		time.Sleep(openingInterval)
	}
	patience := time.Now().Add(openingPatience)
	for int(r.opened.Load()) < len(tallies) && time.Now().Before(patience) {
		time.Sleep(10 * time.Millisecond)
	}
	return tallies
}

func (r *run) keepStream(ctx context.Context, t *tally) {
	var reader stamp.Reader
	begun := false
	err := r.api.stream(ctx, prompt(r.o.rate, r.eventsOfStream()), func(text []byte) {
		if !begun {
			begun = true
			r.opened.Add(1)
		}
		measuring := r.measuring.Load()
		if measuring {
			t.messages++
		}
		reader.Read(text, func(age time.Duration) {
			if measuring {
				t.times = append(t.times, age)
			}
		})
	})
	t.lost = reader.Lost
	r.note(ctx, err)
}

// eventsOfStream is how many events take a stream past the measurement; none for one that is silent.
func (r *run) eventsOfStream() int {
	life := openingInterval*time.Duration(r.o.streams) + r.o.warmup + r.o.window + spareTime
	return int(r.o.rate * life.Seconds())
}

// start keeps a number of calls under way, each begun at the earliest an interval after the one before.
func (r *run) start(
	ctx context.Context, inflight int, interval time.Duration, call func(context.Context, string) error,
) []*tally {
	tallies := make([]*tally, inflight)
	for n := range tallies {
		t := &tally{}
		tallies[n] = t
		r.working.Go(func() {
			for ctx.Err() == nil && !r.ending.Load() {
				began := time.Now()
				if err := call(ctx, prompt(r.o.rate, 0)); err != nil {
					r.note(ctx, err)
				} else if r.measuring.Load() {
					t.times = append(t.times, time.Since(began))
				}
				time.Sleep(interval - time.Since(began))
			}
		})
	}
	return tallies
}

// note counts an error, unless the load is over.
func (r *run) note(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.errors++
	if r.first == nil {
		r.first = err
	}
}

func merge(tallies []*tally) tally {
	var all tally
	for _, t := range tallies {
		all.times = append(all.times, t.times...)
		all.messages += t.messages
		all.lost += t.lost
	}
	return all
}

// firstEvents opens short streams one after the other, and measures how long each takes to its first message.
func firstEvents(api api, o options) (*result, error) {
	const unmeasured = 10
	ctx, cancel := context.WithTimeout(context.Background(), streamDeadline)
	defer cancel()
	var times []time.Duration
	for n := range o.first + unmeasured {
		began := time.Now()
		var first time.Duration
		err := api.stream(ctx, prompt(1000, 8), func([]byte) {
			if first == 0 {
				first = time.Since(began)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("stream %d: %w", n, err)
		}
		if n >= unmeasured {
			times = append(times, first)
		}
	}
	return &result{Opened: o.first, First: newQuantiles(times)}, nil
}

func waitAtMost(group *sync.WaitGroup, patience time.Duration) {
	ended := make(chan struct{})
	go func() {
		group.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(patience):
	}
}
