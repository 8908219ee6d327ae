package truelayer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// The exit statuses of `caddy truelayer`.
const (
	exitFailed = 1
	exitUsage  = 2
)

// errChecksFailed ends a command whose output already says what is wrong.
var errChecksFailed = errors.New("a check failed")

// usageError is the error of a command whose flags do not fit together.
type usageError struct{ error }

// failUsage makes a command end with the status for wrong usage. Caddy gives a status
// to the errors of its own command functions only.
func failUsage(cmd *cobra.Command, err error) error {
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return exitUsage, err })(cmd, nil)
}

// exactly is cobra.ExactArgs with the status for wrong usage.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return failUsage(cmd, fmt.Errorf("%s takes %d arguments, not %d: run it with --help", cmd.CommandPath(), n, len(args)))
		}
		return nil
	}
}

// caddyFlags are the flags that say where Caddy is and how to answer.
type caddyFlags struct {
	config, adapter, address, output string
}

func addCaddyFlags(cmd *cobra.Command, config string) *caddyFlags {
	f := &caddyFlags{}
	cmd.Flags().StringVarP(&f.config, "config", "c", "", config)
	cmd.Flags().StringVarP(&f.adapter, "adapter", "a", "", "The adapter of the configuration file, if it is not JSON or a Caddyfile")
	cmd.Flags().StringVar(&f.address, "address", "", "The address of the admin endpoint of the running Caddy")
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "text, for people, or json, for programs")
	return f
}

// run returns a command's function, which checks the flags that all commands have.
func (f *caddyFlags) run(act func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if f.output != "text" && f.output != "json" {
			return failUsage(cmd, fmt.Errorf("--output %q: use text or json", f.output))
		}
		err := act(cmd, args)
		if wrong, ok := errors.AsType[usageError](err); ok {
			return failUsage(cmd, wrong.error)
		}
		if errors.Is(err, errChecksFailed) {
			cmd.SilenceErrors = true
			return err
		}
		return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return exitFailed, err })(cmd, args)
	}
}

// maxAdminAnswer is the largest answer of the admin endpoint that a command reads.
const maxAdminAnswer = 16 << 20

// ask sends a request to the admin endpoint of the running Caddy, with a body if it is
// not nil, and decodes the answer.
func (f *caddyFlags) ask(method, path string, header http.Header, body, answer any) error {
	address, err := caddycmd.DetermineAdminAPIAddress(f.address, nil, f.config, f.adapter)
	if err != nil {
		return fmt.Errorf("finding the admin endpoint: %w", err)
	}
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = strings.NewReader(string(text))
	}
	resp, err := caddycmd.AdminAPIRequest(address, method, path, header, reader)
	if err != nil {
		return fmt.Errorf("asking the running Caddy at %s: %w; is it running, with this module and its admin endpoint on?", address, err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAdminAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("reading the answer of the running Caddy at %s: %w", address, err)
	}
	return nil
}

// print writes a command's answer: as JSON, or as the function writes it.
func (f *caddyFlags) print(cmd *cobra.Command, answer any, text func(io.Writer)) error {
	out := cmd.OutOrStdout()
	if f.output == "text" {
		text(out)
		return nil
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(answer)
}
