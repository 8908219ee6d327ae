package banks

import (
	"cmp"
	"slices"

	"github.com/caddy-truelayer/caddy-truelayer/internal/tlapi"
)

// Step is a choice that a visitor makes before the bank's own login.
type Step struct {
	// ID is what TrueLayer calls the step.
	ID string
	// Name is never "", and Help may be. Both are text like the name of a Bank.
	Name, Help string
	// Mandatory says that the visitor has to choose.
	Mandatory bool
	// Options are what to choose from.
	Options []Option
}

// Option is one of the options of a Step.
type Option struct {
	// Value is what TrueLayer is told.
	Value string
	// Name is text like the name of a Bank.
	Name string
}

const (
	// maxValue is the longest id of a step and the longest value of an option, in runes.
	maxValue = 200
	// maxHelp is the longest help, in runes.
	maxHelp = 300
)

// readSteps returns the steps of a provider. It reports false if the provider has one that
// a visitor cannot be shown, in particular one that may ask for a secret.
func readSteps(p tlapi.Provider) (steps []Step, known bool) {
	if p.NeedsDialog() {
		return nil, false
	}
	for _, from := range p.Steps {
		twice := slices.ContainsFunc(steps, func(s Step) bool { return s.ID == from.ID })
		if twice || !isSendable(from.ID) {
			return nil, false
		}
		s := Step{ID: from.ID, Name: cmp.Or(clean(from.Name, maxName), clean(from.ID, maxName), "Choice"), Help: clean(from.HelpText, maxHelp), Mandatory: from.Mandatory}
		for _, v := range from.Values {
			name := clean(v.Name, maxName)
			if name == "" || !isSendable(v.Value) {
				return nil, false
			}
			s.Options = append(s.Options, Option{v.Value, name})
		}
		steps = append(steps, s)
	}
	return steps, true
}

// isSendable reports whether a browser sends a text back as it came.
func isSendable(text string) bool { return text != "" && clean(text, maxValue) == text }
