// Package vouch asks a visitor's bank whether a name is that of the account's holder, and
// keeps what it says. It knows no session and no request: whoever uses it keeps the State.
package vouch

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/caddy-truelayer/caddy-truelayer/internal/sealed"
	"github.com/caddy-truelayer/caddy-truelayer/internal/tlapi"
)

// Result is what is known of a name.
type Result byte

const (
	// NotAsked means that there is no name.
	NotAsked Result = iota
	// Match means that the bank's holder has the name, and NoMatch that it has another.
	Match
	NoMatch
	// NotVerifiable means that the connection has no account to compare the name with.
	NotVerifiable
	// Unavailable means that the bank could not be asked.
	Unavailable
	// TooManyNames means that the bank was not asked, since the visitor has tried too many
	// names.
	TooManyNames
)

// results are the words for results. Whoever reads them does not learn how many names are
// too many.
var results = [...]string{"not_asked", "match", "no_match", "not_verifiable", "unavailable", "unavailable"}

// String returns the word for the result.
func (r Result) String() string { return results[r] }

const (
	// maxNames is how many names can be tried in a session, and maxNamesInAMinute how many
	// of them in a minute. Whoever may choose the name could otherwise guess the holder's.
	maxNames          = 10
	maxNamesInAMinute = 3
)

// State is what is kept of the names of a session. The zero State is that of a session
// whose bank has not been asked.
type State struct {
	// Result is the bank's word on the last name: Match, NoMatch or NotVerifiable. What is
	// kept is TrueLayer's own decision, whatever the lowest score was at the time.
	Result Result
	// Score is the score of the match, or -1.
	Score int
	// At is when the bank was asked.
	At time.Time
	// Claimed is the name that the visitor has given, "" if the visitor was not asked.
	Claimed string
	// Holder is the name of the account's holder, "" unless it is to be known.
	Holder string

	key    string    // see Key
	names  int       // names that were tried
	minute time.Time // the beginning of the minute in which minuteNames were tried
	// minuteNames is how many names were tried in that minute.
	minuteNames int
}

// Fold returns a name in the form in which it is compared with an earlier one: in Unicode's
// normal form C, with single spaces. The bank is given this form.
func Fold(name string) string { return strings.Join(strings.Fields(norm.NFC.String(name)), " ") }

// IsName reports whether a text can be a person's name: it is not too long for TrueLayer,
// and has nothing that changes the text around it.
func IsName(s string) bool {
	return s != "" && utf8.ValidString(s) && utf8.RuneCountInString(s) <= tlapi.MaxName && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) })
}

// keySize is the length of a Key in bytes.
const keySize = 16

// Key returns what stands for a folded name in a State: its HMAC, with a key that only the
// session has. Nobody can find out the name from it.
func Key(sessionKey []byte, folded string) string {
	mac := hmac.New(sha256.New, sessionKey)
	mac.Write([]byte(folded))
	return string(mac.Sum(nil)[:keySize])
}

// knows reports whether the state has the bank's word on a name, and it is not too old. A
// time too far ahead was noted before the clock was set back.
func (s *State) knows(key string, now time.Time, maxAge time.Duration) bool {
	age := now.Sub(s.At)
	return s.Result != NotAsked && s.key == key && age < maxAge && age > -maxAge
}

// mayTry reports whether the bank may be asked about a name.
func (s *State) mayTry(key string, now time.Time) bool {
	if s.key == key {
		return true
	}
	inMinute := s.minuteNames
	if age := now.Sub(s.minute); age < 0 || age >= time.Minute {
		inMinute = 0
	}
	return s.names < maxNames && inMinute < maxNamesInAMinute
}

// with returns the state after the bank has spoken.
func (s *State) with(key string, answer State, now time.Time) State {
	after := answer
	after.Claimed = s.Claimed
	after.key, after.At = key, now
	after.names, after.minute, after.minuteNames = s.names, s.minute, s.minuteNames
	if s.key != key {
		if age := now.Sub(after.minute); age < 0 || age >= time.Minute {
			after.minute, after.minuteNames = now, 0
		}
		after.names++
		after.minuteNames++
	}
	return after
}

// Carry returns what a session keeps that continues another one with the same bank
// connection: the name that the visitor has given, and how many names were tried. The bank
// is asked about the last of these again, and it is counted then, so it is not counted here.
func Carry(kept string) string {
	old := Read(kept)
	after := State{Claimed: old.Claimed, names: old.names, minute: old.minute, minuteNames: old.minuteNames}
	if old.key != "" {
		after.names, after.minuteNames = max(0, old.names-1), max(0, old.minuteNames-1)
	}
	if after == (State{}) {
		return ""
	}
	return after.Append()
}

const stateVersion = "1"

// Append returns the state as it is kept, which Read reads.
func (s *State) Append() string {
	b := append([]byte(stateVersion), byte(s.Result), byte(s.Score+1), byte(s.names), byte(s.minuteNames)) //nolint:gosec // small numbers
	b = sealed.AppendTime(b, s.At)
	b = sealed.AppendTime(b, s.minute)
	for _, text := range []string{s.key, s.Holder, s.Claimed} {
		b = sealed.AppendText(b, text)
	}
	return string(b)
}

// Read reads a state. What cannot be read is the zero State: the bank is asked again.
func Read(kept string) State {
	r := sealed.NewReader(kept)
	version, numbers := r.Bytes(len(stateVersion)), r.Bytes(4)
	s := State{At: r.Time(), minute: r.Time(), key: r.Text(), Holder: r.Text(), Claimed: r.Text()}
	if !r.AtEnd() || version != stateVersion || numbers[0] > byte(NotVerifiable) || numbers[1] > 101 {
		return State{}
	}
	s.Result, s.Score, s.names, s.minuteNames = Result(numbers[0]), int(numbers[1])-1, int(numbers[2]), int(numbers[3])
	return s
}
