package integration

import (
	"strings"
	"testing"
)

// TestAccessLogWarning: an operator who logs accesses, and with them codes, is
// told so once; one who filters them, or logs none, is not. What the harness
// would log beside that is left out.
func TestAccessLogWarning(t *testing.T) {
	const warning = "accesses are logged, and the codes of logins with them"
	for name, test := range map[string]struct {
		log  string
		want int
	}{
		"no access log": {"", 0},
		"unfiltered":    {"log {\n output discard\n}", 1},
		"filtered":      {"log {\n output discard\n format filter {\n request>uri truelayer\n }\n}", 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, plain, func(w *world) { w.Before, w.logsAsWritten = test.log, true })
			for range 3 {
				w.browser().navigate(w.Site + "/")
			}
			equal(t, "warnings", strings.Count(w.log.text(t), warning), test.want)
		})
	}
}
