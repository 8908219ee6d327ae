package guardedconn

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// hello is a primary's answer to HELLO, and helloAs anyone's.
func hello(version string) string { return helloAs("master", version) }

func helloAs(role, version string) string {
	return fmt.Sprintf("%%4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$%d\r\n%s\r\n$5\r\nproto\r\n:3\r\n$4\r\nrole\r\n$%d\r\n%s\r\n",
		len(version), version, len(role), role)
}

// expired is what Redis 6 sends for a key that it finds expired while it
// answers EXEC: the array ends with PTTL's answer, and GET's comes behind it.
const expired = "*2\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n:-2\r\n_\r\n"

var errReplica = errors.New("a replica")

func refuseReplica(role string) error {
	if role == "replica" || role == "slave" {
		return errReplica
	}
	return nil
}

// follow returns how much of the answers to sent commands a guarded connection
// lets through, read in pieces of the size. The first command makes the
// connection ready.
func follow(answers string, sent int64, caching bool, size int) (passed string, err error) {
	c := guard(nil, caching, refuseReplica)
	c.commands.sent.Store(sent)
	c.replies.handshake = 1
	for begin := 0; begin < len(answers); begin += size {
		piece := answers[begin:min(begin+size, len(answers))]
		n, err := c.answers.follow([]byte(piece))
		if err != nil {
			return answers[:begin+n], err
		}
	}
	return answers, nil
}

func TestFraming(t *testing.T) {
	shards := "*1\r\n%2\r\n$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n$5\r\nnodes\r\n*1\r\n%1\r\n$2\r\nid\r\n$1\r\nx\r\n"
	for name, answers := range map[string]string{
		"strings":          "$0\r\n\r\n$5\r\na\r\nbc\r\n=7\r\ntxt:abc\r\n+OK\r\n+a\rb\r\n-ERR no\r\n+\r\n",
		"nulls":            "$-1\r\n*-1\r\n_\r\n",
		"numbers":          ":0\r\n:-9223372036854775808\r\n#t\r\n#f\r\n,inf\r\n(3492890328409238509324850943850943825024385\r\n",
		"aggregates":       "*0\r\n%0\r\n~1\r\n:1\r\n*2\r\n*1\r\n*0\r\n$-1\r\n" + shards,
		"pushes":           ">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n>3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n",
		"the largest":      "$1048576\r\n" + strings.Repeat("x", maxBlob) + "\r\n+" + strings.Repeat("x", maxLine-1) + "\r\n*65536\r\n" + strings.Repeat("_\r\n", maxCount),
		"the deepest":      strings.Repeat("*1\r\n", maxDepth) + "_\r\n",
		"redirections":     "-MOVED 3999 127.0.0.1:6381\r\n-ASK 3999 127.0.0.1:6381\r\n",
		"an expired key":   hello("6.2.6") + expired + "+OK\r\n" + expired,
		"a replica later":  hello("7.0.0") + helloAs("replica", "7.0.0"),
		"other roles":      helloAs("sentinel", "7.0.0") + strings.Replace(hello("7.0.0"), "redis", "slave", 1),
		"an unfinished":    "$5\r\nabc",
		"subscribe inside": "*1\r\n$9\r\nsubscribe\r\n",
	} {
		for _, size := range []int{1, 7, len(answers)} {
			if passed, err := follow(answers, 100_000, true, size); err != nil || passed != answers {
				t.Errorf("%s, %d at a time: stopped behind %d of %d bytes: %v", name, size, len(passed), len(answers), err)
			}
		}
	}

	for name, refused := range map[string]struct {
		answers string
		err     error
	}{
		"a negative length":         {"$-2\r\n", errFraming},
		"no length":                 {"$\r\n", errFraming},
		"a sign alone":              {"$-\r\n", errFraming},
		"minus zero":                {"$-0\r\n", errFraming},
		"a huge length":             {"$9223372036854775000\r\n", errTooLarge},
		"one that overflows":        {"$18446744073709551616\r\n", errTooLarge},
		"one byte too long":         {"$1048577\r\n", errTooLarge},
		"zeros without end":         {"$" + strings.Repeat("0", 100), errFraming},
		"a huge verbatim string":    {"=1048577\r\n", errTooLarge},
		"a negative count":          {"*-2\r\n", errFraming},
		"a huge count":              {"*9223372036854775000\r\n", errTooLarge},
		"one element too many":      {"*65537\r\n", errTooLarge},
		"a map with too many":       {"%65537\r\n", errTooLarge},
		"a null push":               {">-1\r\n", errFraming},
		"a null map":                {"%-1\r\n", errFraming},
		"a null set":                {"~-1\r\n", errFraming},
		"too many counts together":  {strings.Repeat("*65536\r\n", maxDepth), errTooLarge},
		"too large together":        {"*65536\r\n" + strings.Repeat("$1048576\r\n"+strings.Repeat("x", maxBlob)+"\r\n", 16), errTooLarge},
		"long lines together":       {"*65536\r\n" + strings.Repeat("+"+strings.Repeat("x", maxLine-1)+"\r\n", 256), errTooLarge},
		"too deep":                  {strings.Repeat("*1\r\n", maxDepth+1), errTooLarge},
		"a long line":               {"+" + strings.Repeat("x", maxLine+1), errTooLarge},
		"a long number":             {":" + strings.Repeat("1", 21), errFraming},
		"a streamed string":         {"$?\r\n;4\r\nabcd\r\n;0\r\n", errFraming},
		"a streamed array":          {"*?\r\n.\r\n", errFraming},
		"a chunk":                   {";4\r\nabcd\r\n", errFraming},
		"an attribute":              {"|1\r\n+a\r\n+b\r\n+c\r\n", errFraming},
		"a blob error":              {"!5\r\nMOVED\r\n", errFraming},
		"another protocol":          {"HTTP/1.1 400 Bad Request\r\n\r\n", errFraming},
		"a null with something":     {"_ab_cd", errFraming},
		"a boolean with something":  {"#tbc#tbc", errFraming},
		"another boolean":           {"#x\r\n", errFraming},
		"a line without CR":         {"+OK\n", errFraming},
		"a line break alone":        {"+\n", errFraming},
		"a count without CR":        {"*1\n", errFraming},
		"a count with a letter":     {"*1a\r\n", errFraming},
		"something behind CR":       {":1\r1\n", errFraming},
		"a redirection to nowhere":  {"-MOVED\r\n", errFraming},
		"another":                   {"-ASKED 1\r\n", errFraming},
		"an answer too many":        {"+OK\r\n+OK\r\n+OK\r\n", errUnsolicited},
		"one of another type":       {"+OK\r\n*0\r\n*0\r\n", errUnsolicited},
		"a subscription":            {">3\r\n$9\r\nsubscribe\r\n+x\r\n:1\r\n", errUnexpectedPush},
		"one spelled otherwise":     {">1\r\n+psubscribe\r\n", errUnexpectedPush},
		"one of a shard":            {">1\r\n=10\r\nssubscribe\r\n", errUnexpectedPush},
		"a push inside":             {hello("7.0.0") + expired, errUnexpectedPush},
		"one of no version":         {expired, errUnexpectedPush},
		"one in the wrong version":  {strings.Replace(hello("7"), "$5\r\nproto\r\n:3", "$7\r\nversion\r\n*1\r\n+6.0", 1) + expired, errUnexpectedPush},
		"one where a key is 6":      {"*4\r\n+a\r\n$7\r\nversion\r\n+6.0\r\n+b\r\n" + expired, errUnexpectedPush},
		"one in HELLO's answer":     {strings.Replace(hello("6.0"), ":3", ">0", 1), errUnexpectedPush},
		"one inside of a push":      {hello("6.0") + ">1\r\n>0\r\n", errUnexpectedPush},
		"one deep inside":           {hello("6.0") + "*1\r\n*1\r\n>0\r\n", errUnexpectedPush},
		"one in an answer's rest":   {hello("6.0") + "*1\r\n>0\r\n*1\r\n>0\r\n", errUnexpectedPush},
		"a replica":                 {helloAs("replica", "7.0.0"), errReplica},
		"one of another name":       {helloAs("slave", "7.0.0"), errReplica},
		"one too many behind those": {hello("6.0") + expired + "+OK\r\n", errUnsolicited},
	} {
		whole, err := follow(refused.answers, 2, true, len(refused.answers))
		if !errors.Is(err, refused.err) || whole == refused.answers {
			t.Errorf("%s: got error %v, want %v", name, err, refused.err)
		}
		for _, size := range []int{1, 7} {
			if passed, again := follow(refused.answers, 2, true, size); !errors.Is(again, err) || passed != whole {
				t.Errorf("%s, %d at a time: %v behind %d bytes; in one piece %v behind %d", name, size, again, len(passed), err, len(whole))
			}
		}
	}
	if _, err := follow(hello("6.0")+expired, 2, false, 1); !errors.Is(err, errUnexpectedPush) {
		t.Errorf("a push inside of an answer that nobody keeps: %v", err)
	}
	c := guard(nil, true, func(string) error { return nil })
	c.commands.sent.Store(1)
	if _, err := c.answers.follow([]byte(helloAs("replica", "7.0.0"))); err != nil {
		t.Errorf("a replica where every role is accepted: %v", err)
	}
}

// TestSubscribed: answers are not counted on a connection to a Sentinel.
func TestSubscribed(t *testing.T) {
	for command, subscribed := range map[string]bool{
		"*2\r\n$9\r\nSUBSCRIBE\r\n$9\r\n+sentinel\r\n": true,
		"*1\r\n$11\r\nUNSUBSCRIBE\r\n":                 true,
		"*2\r\n$3\r\nGET\r\n$9\r\nSUBSCRIBE\r\n":       false,
	} {
		c := guard(nil, true, refuseReplica)
		if _, err := c.requests.follow([]byte("*1\r\n$4\r\nPING\r\n" + command)); err != nil {
			t.Fatal(err)
		}
		if n := c.commands.sent.Load(); n != 2 {
			t.Errorf("%q: %d commands were counted", command, n)
		}
		_, err := c.answers.follow([]byte(strings.Repeat(">1\r\n$9\r\nsubscribe\r\n", 2) + strings.Repeat("+PONG\r\n", 3)))
		if (err == nil) != subscribed {
			t.Errorf("%q: %v", command, err)
		}
	}
}

// FuzzFraming: rueidis survives what is let through, which does not depend on
// how the bytes are cut into pieces.
func FuzzFraming(f *testing.F) {
	f.Add(hello("7.2.4")+"+OK\r\n*2\r\n:1\r\n$3\r\nabc\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n", uint8(2), true, uint8(3))
	f.Add(hello("6.2.6")+expired+"$-1\r\n", uint8(2), true, uint8(1))
	f.Add(hello("6")+"*1\r\n>0\r\n>1\r\n+subscribe\r\n_\r\n", uint8(3), true, uint8(2))
	f.Add("+OK\r\n>3\r\n+subscribe\r\n_\r\n#t\r\n-MOVED 1 a:1\r\n", uint8(2), false, uint8(9))
	f.Add("$-2\r\n*9223372036854775000\r\n%1\r\n~1\r\n|1\r\n!1\r\nx\r\n", uint8(9), false, uint8(4))
	f.Fuzz(func(t *testing.T, answers string, sent uint8, caching bool, size uint8) {
		passed, err := follow(answers, int64(sent)+1, caching, max(1, len(answers)))
		if again, cut := follow(answers, int64(sent)+1, caching, int(size)+1); again != passed || !errors.Is(cut, err) {
			t.Errorf("%v behind %d bytes, but %v behind %d, read in pieces", err, len(passed), cut, len(again))
		}
		l := library{r: bufio.NewReader(strings.NewReader(passed)), caching: caching}
		if err := l.run(int(sent) + 1); errors.Is(err, errDead) {
			t.Errorf("of %q %q was let through: %v", answers, passed, err)
		}
	})
}
