// Command load measures what the module costs a running Caddy and prints a
// table of it, beside what it is meant to cost at most:
//
//	go run ./test/bench/load
//
// Most of it is duels. Two Caddys, each a process of its own, stand in front of
// the same application; one has the module and the other a bare reverse_proxy
// that sends a fixed token, which is as long. Both are loaded at the same time,
// over as many connections and with cookies of the same length, each request
// that of a visitor picked at random. A row has the median of the rounds' ratios,
// with the least and the greatest: what disturbs one side of a round disturbs
// the other too. Processor time comes from /proc, so that it needs Linux.
//
// The other rows are the processor time of logins, what requests without a
// session or with a forged one leave in memory, and a duel between many
// sessions and a thousand.
//
// Parts with store redis run a redis-server, which has to be installed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the command's flags.
type options struct {
	rounds    int
	roundTime time.Duration
	visitors  int
	sessions  int
	requests  int
	logins    int
	aof       bool
}

// parts are what can be measured, in this order.
var parts = []struct {
	name    string
	measure func(*measurement)
}{
	{"duel", duelWith(storeMemory, 1)},
	{"duel-storage", duelWith(storeStorage, 1)},
	{"duel-redis", duelWith(storeRedis, 1)},
	{"duel-redis-nodes", duelWith(storeRedis, 3)},
	{"login", loginWith(storeMemory)},
	{"login-storage", loginWith(storeStorage)},
	{"login-redis", loginWith(storeRedis)},
	{"anonymous", floodAnonymously},
	{"forged-redis", floodWithForgedCookies},
	{"scale", duelOfSizes},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) == 4 && os.Args[1] == "role" {
		err = play(os.Args[2], os.Args[3], os.Stdin, os.Stdout)
	} else {
		err = run(ctx, os.Args[1:], os.Stdout)
	}
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// run measures what the flags ask for and writes the table.
func run(ctx context.Context, args []string, out io.Writer) error {
	o, wanted, err := parse(args)
	if err != nil {
		return err
	}
	t := new(table)
	for _, part := range parts {
		if !slices.Contains(wanted, part.name) {
			continue
		}
		began := time.Now()
		if err := measure(ctx, o, t, part.measure); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %s\n", part.name, time.Since(began).Round(time.Second))
	}
	fmt.Fprintf(out, "%s\n\n`go run ./test/bench/load %s`\n\n", machine(), strings.Join(args, " "))
	t.write(out)
	return nil
}

// parse reads the flags, one of which says which parts are wanted.
func parse(args []string) (o options, wanted []string, err error) {
	names := make([]string, len(parts))
	for i, part := range parts {
		names[i] = part.name
	}
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.IntVar(&o.rounds, "rounds", 9, "`rounds` of a duel; the table has their median")
	flags.DurationVar(&o.roundTime, "round-time", 5*time.Second, "how `long` a round lasts")
	flags.IntVar(&o.visitors, "visitors", 1000, "`sessions` of a duel with a bare reverse_proxy")
	flags.IntVar(&o.sessions, "sessions", 100_000, "`sessions` of the larger side in the part scale")
	flags.IntVar(&o.requests, "anonymous", 100_000, "`requests` without a session, or with a forged one")
	flags.IntVar(&o.logins, "logins", 3_000, "`logins` whose cost is measured")
	flags.BoolVar(&o.aof, "aof", false, "let Redis keep an append-only file")
	only := flags.String("only", strings.Join(names, ","), "comma-separated `parts`")
	if err := flags.Parse(args); err != nil {
		return options{}, nil, err
	}
	if flags.NArg() > 0 {
		return options{}, nil, fmt.Errorf("unexpected argument %q: give flags only", flags.Arg(0))
	}
	if min(o.rounds, o.visitors, o.sessions, o.requests, o.logins) < 1 {
		return options{}, nil, errors.New("every number has to be 1 or more")
	}
	wanted = strings.Split(*only, ",")
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return options{}, nil, fmt.Errorf("no part %q; there are %s", name, strings.Join(names, ", "))
		}
	}
	return o, wanted, nil
}
