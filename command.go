package truelayer

import (
	"fmt"

	"github.com/spf13/cobra"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "truelayer",
		Usage: "<command>",
		Short: "Checks bank logins, makes auth links, lists and ends sessions",
		Long: `Looks after the truelayer blocks of a running Caddy, through its admin endpoint.

The admin endpoint is found as for other Caddy commands: by --address, or else in
the configuration file that --config names, or else at localhost:2019.

Exit status:

  0  all is well, or there are only warnings
  1  a check failed, or the command could not do its work
  2  the command was used wrongly
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return failUsage(cmd, err) })
			addGroup(cmd, doctorCommand(), authLinkCommand(), sessionsCommand())
		},
	})
}

// addGroup makes cmd one that only holds others. Without this cobra prints the help for
// a mistyped one and reports success.
func addGroup(cmd *cobra.Command, commands ...*cobra.Command) {
	cmd.AddCommand(commands...)
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return failUsage(cmd, fmt.Errorf("there is no command %q: run %s --help", args[0], cmd.CommandPath()))
		}
		return cmd.Help()
	}
}

// sessionsCommand returns the commands for sessions.
func sessionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sessions <command>",
		Short: "Lists, counts and ends sessions",
		Long: `Lists, counts and ends the sessions of a running Caddy.

A session's id is no secret: nobody can use a session with it. Neither tokens nor
cookies are shown, and no operator can use a visitor's session.`,
	}
	addGroup(cmd, listCommand(), countCommand(), revokeCommand())
	return cmd
}
