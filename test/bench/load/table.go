package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
)

// table is what is printed in the end.
type table struct{ rows []row }

type row struct{ what, target, result, verdict string }

// add adds a row whose target is met or not.
func (t *table) add(what, target, result string, met bool) {
	verdict := "met"
	if !met {
		verdict = "missed"
	}
	t.rows = append(t.rows, row{what, target, result, verdict})
}

// note adds a row without a target.
func (t *table) note(what, result string) {
	t.rows = append(t.rows, row{what, "", result, ""})
}

func (t *table) write(out io.Writer) {
	fmt.Fprintln(out, "| What | Target | Measured | |")
	fmt.Fprintln(out, "|---|---|---|---|")
	for _, r := range t.rows {
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", r.what, r.target, r.result, r.verdict)
	}
}

// spread is a median with the least and the greatest of the values.
type spread struct{ median, least, greatest float64 }

// spreadOf is that of a field of each round.
func spreadOf(rounds []ratio, field func(ratio) float64) spread {
	values := make([]float64, len(rounds))
	for i, r := range rounds {
		values[i] = field(r)
	}
	slices.Sort(values)
	return spread{values[len(values)/2], values[0], values[len(values)-1]}
}

func (s spread) String() string {
	return fmt.Sprintf("%.3f (%.3f to %.3f)", s.median, s.least, s.greatest)
}

// micros is a spread of microseconds.
func (s spread) micros() string {
	return fmt.Sprintf("%.3g µs (%.3g to %.3g)", s.median, s.least, s.greatest)
}

// machine describes where the figures come from.
func machine() string {
	caddyVersion := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range info.Deps {
			if dependency.Path == "github.com/caddyserver/caddy/v2" {
				caddyVersion = dependency.Version
			}
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	df, _ := exec.Command("df", "--output=fstype", os.TempDir()).Output() //nolint:gosec // the tests' own directory
	_, fileSystem, _ := strings.Cut(strings.TrimSpace(string(df)), "\n")
	// "Redis server v=7.0.15 sha=00000000:0 …"
	redis, _ := exec.Command("redis-server", "--version").Output()
	_, redisVersion, _ := strings.Cut(string(redis), " v=")
	redisVersion, _, _ = strings.Cut(redisVersion, " ")
	return fmt.Sprintf("%d cores of %s, %s of memory, temporary files on %s, Linux %s, %s, Caddy %s, Redis %s",
		runtime.NumCPU(), field("/proc/cpuinfo", "model name"), field("/proc/meminfo", "MemTotal"), fileSystem,
		strings.TrimSpace(string(kernel)), runtime.Version(), caddyVersion, redisVersion)
}

// field is the first of a name in a file of lines "name: value".
func field(file, name string) string {
	text, _ := os.ReadFile(file) //nolint:gosec // one of the kernel's
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
