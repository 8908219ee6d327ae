// Command load puts a Caddy with the module under load, beside one without it,
// and prints what it found as a table: the targets and what was measured.
//
//	go run ./test/bench/load
//
// Everything that is measured is a process of its own, so that the processor
// time of each is known. They are this command again, as "load role <name>".
// It needs Linux, for /proc. The parts with Redis start a redis-server on a free
// port, which has to be installed and ends with them.
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
	rounds      int
	roundTime   time.Duration
	connections int
	procs       int
	visitors    int
	sessions    int
	anonymous   int
	logins      int
	only        string
	profiles    string
	aof         bool
}

// measurement measures something and adds it to the table.
type measurement func(context.Context, *options, *table) error

// parts are what can be measured, in this order.
var parts = []struct {
	name    string
	measure measurement
}{
	{"handler", measureHandler},
	{"duel", duelWith(storeMemory)},
	{"duel-storage", duelWith(storeStorage)},
	{"duel-redis", duelWith(storeRedis)},
	{"nodes", measureNodes},
	{"login", loginWith(storeMemory)},
	{"login-storage", loginWith(storeStorage)},
	{"login-redis", loginWith(storeRedis)},
	{"anonymous", measureAnonymous},
	{"forged-redis", measureForged},
	{"scale", measureScale},
	{"memory-redis", measureRedisMemory},
	{"sweep", measureSweep},
	{"get", measureGets},
	{"write", measureWrites},
	{"lock", measureLocks},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) == 4 && os.Args[1] == "role" {
		err = play(ctx, os.Args[2], []byte(os.Args[3]))
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
	var o options
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.IntVar(&o.rounds, "rounds", 9, "`rounds` of a duel; the table has their median")
	flags.DurationVar(&o.roundTime, "round-time", 5*time.Second, "how `long` a round lasts")
	flags.IntVar(&o.connections, "connections", 16, "`connections` to each side of a duel")
	flags.IntVar(&o.procs, "procs", 2, "GOMAXPROCS of each Caddy; all of them and the load share the machine")
	flags.IntVar(&o.visitors, "visitors", 1000, "`sessions` that a duel and the nodes are used with")
	flags.IntVar(&o.sessions, "sessions", 100_000, "`sessions` of a large store")
	flags.IntVar(&o.anonymous, "anonymous", 100_000, "`requests` without a session")
	flags.IntVar(&o.logins, "logins", 3_000, "`logins` whose cost is measured")
	flags.StringVar(&o.only, "only", "", "comma-separated `parts`: "+strings.Join(partNames(), ", ")+" (default all)")
	flags.StringVar(&o.profiles, "profiles", "", "`directory` for CPU profiles of both sides of the duel with a bare reverse_proxy")
	flags.BoolVar(&o.aof, "aof", false, "let Redis keep an append-only file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: give flags only", flags.Arg(0))
	}
	if min(o.rounds, o.connections, o.procs, o.visitors, o.sessions, o.anonymous, o.logins) < 1 {
		return errors.New("every number has to be 1 or more")
	}
	wanted := partNames()
	if o.only != "" {
		wanted = strings.Split(o.only, ",")
	}
	for _, name := range wanted {
		if !slices.Contains(partNames(), name) {
			return fmt.Errorf("no part %q; there are %s", name, strings.Join(partNames(), ", "))
		}
	}
	t := &table{}
	for _, part := range parts {
		if !slices.Contains(wanted, part.name) {
			continue
		}
		began := time.Now()
		if err := part.measure(ctx, &o, t); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %s\n", part.name, time.Since(began).Round(time.Second))
	}
	fmt.Fprintf(out, "%s\n\n`load %s`\n\n", machine(), strings.Join(args, " "))
	t.write(out)
	return nil
}

func partNames() []string {
	names := make([]string, len(parts))
	for i, part := range parts {
		names[i] = part.name
	}
	return names
}
