package block

import (
	"fmt"
	"regexp"

	"github.com/caddyserver/caddy/v2"
)

var placeholder = regexp.MustCompile(`\{[^{}]+\}`)

// Expand replaces the global placeholders in an option's value. The error names the
// placeholder that is unknown or empty, and repeats nothing else of the value.
func Expand(option, value string) (string, error) {
	replacer := caddy.NewReplacer()
	for _, name := range placeholder.FindAllString(value, -1) {
		if replaced, err := replacer.ReplaceOrErr(name, true, true); err != nil || replaced == "" {
			return "", fmt.Errorf("%s: the placeholder %s is unknown or empty: check that the user that runs Caddy has the environment variable or can read the file", option, name)
		}
	}
	expanded, err := replacer.ReplaceOrErr(value, true, true)
	if err != nil || expanded == "" {
		return "", fmt.Errorf("%s has a placeholder that is unknown or empty: check that the user that runs Caddy has the environment variable or can read the file", option)
	}
	return expanded, nil
}
