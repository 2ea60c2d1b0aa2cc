package remotecmd

import (
	"fmt"
	"strings"

	"github.com/sirupsen/logrus"

	"pegasus/base/logging"
	"pegasus/remotecmd/answer"
)

// common are the commands of every server.
func (t *Table) common(o *Options) []Command {
	list := []Command{
		{Name: "help", Aliases: []string{"h", "H", "Help"}, Args: "[command]", Help: "Display help information", Run: t.help, Shows: Always},
		{Name: "server-info", Help: "Query server information", Run: func([]string) string { return Info(o.Started) }, Shows: Always},
		{Name: "version", Help: "Show the version of this server", Run: func([]string) string { return Version + " (" + Revision() + ")" }, Shows: Always},
		{Name: "flush-log", Help: "Flush log to stderr or file", Run: func([]string) string {
			if o.Log != nil {
				logging.Flush(o.Log)
			}
			return "Flush done."
		}, Shows: Always},
		{Name: "log-level", Args: "[LEVEL | PACKAGE=LEVEL | PACKAGE=]...", Help: "Show the levels of the log as JSON; set the common one, or those of packages", Run: o.logLevel, Shows: WithoutArgs},
		{Name: "reset-log-start-level", Args: "[DEBUG | INFO | WARNING | ERROR | FATAL]", Help: "Reset the log start level", Run: o.resetLevel},
	}
	list = append(list, o.counters()...)
	if o.Dump != nil {
		list = append(list, Command{Name: "config-dump", Help: "Show the configuration keys that differ from their defaults", Shows: Always, Run: func(args []string) string {
			if len(args) > 0 {
				return "ERR: a server doesn't write files by remote command; leave the argument out"
			}
			text, err := o.Dump()
			if err != nil {
				return "ERR: " + err.Error()
			}
			return text
		}})
	}
	return list
}

// levels are upstream's names of what a log line can be.
var levels = map[string]logrus.Level{
	"DEBUG": logrus.DebugLevel, "INFO": logrus.InfoLevel, "WARNING": logrus.WarnLevel, "ERROR": logrus.ErrorLevel, "FATAL": logrus.FatalLevel,
}

// resetLevel sets the least level that is logged; without an argument upstream goes back to
// INFO.
func (o *Options) resetLevel(args []string) string {
	name := "INFO"
	if len(args) > 0 {
		name = strings.TrimPrefix(strings.ToUpper(args[0]), "LOG_LEVEL_")
	}
	l, ok := levels[name]
	if !ok || len(args) > 1 {
		return fmt.Sprintf("ERROR: invalid level '%s'", strings.Join(args, " "))
	}
	if o.Log != nil {
		if err := logging.Of(o.Log).Set(l.String()); err != nil {
			return "ERROR: " + err.Error()
		}
	}
	return "OK, current level is LOG_LEVEL_" + name
}

// logLevel shows and changes the levels of the log.
func (o *Options) logLevel(args []string) string {
	if o.Log == nil {
		return JSON(answer.LogLevel{Error: "this server has no log"})
	}
	levels := logging.Of(o.Log)
	if err := levels.Change(args); err != nil {
		return JSON(answer.LogLevel{Error: err.Error()})
	}
	var a answer.LogLevel
	a.Level, a.Packages = levels.Get()
	return JSON(a)
}
