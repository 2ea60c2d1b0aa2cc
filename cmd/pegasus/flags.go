package main

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"pegasus/base"
)

// Every number of the command line has limits, so that none is cut to what a message can hold.
// TestFlagsAreBounded finds a flag without.

// longest is the longest duration that a flag takes.
const longest = 10 * 365 * 24 * time.Hour

// integer is what a whole number is kept in.
type integer interface{ ~int | ~int32 | ~int64 }

type numberFlag[T integer] struct {
	to     *T
	limits base.Range
}

func (f numberFlag[T]) String() string {
	if f.to == nil {
		return "0" // how pflag asks whether a default is the zero value
	}
	return strconv.FormatInt(int64(*f.to), 10)
}

func (f numberFlag[T]) Type() string { return "number" }

func (f numberFlag[T]) Set(s string) error {
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil || n < f.limits.Min || n > f.limits.Max {
		if f.limits.Max == math.MaxInt64 {
			return fmt.Errorf("give a whole number of at least %d", f.limits.Min)
		}
		return fmt.Errorf("give a whole number, %d to %d", f.limits.Min, f.limits.Max)
	}
	*f.to = T(n)
	return nil
}

// numberVar adds a flag for a whole number.
func numberVar[T integer](fl *pflag.FlagSet, to *T, name, short string, def T, limits base.Range, usage string) {
	*to = def
	fl.VarP(numberFlag[T]{to, limits}, name, short, usage)
}

var isDuration = regexp.MustCompile(`^[+-]?([0-9]+(\.[0-9]*)?(ns|us|ms|s|m|h))+$`)

type durationFlag struct {
	to       *time.Duration
	min, max time.Duration
}

func (f durationFlag) String() string {
	if f.to == nil {
		return "0s"
	}
	return f.to.String()
}

func (f durationFlag) Type() string { return "duration" }

func (f durationFlag) Set(s string) error {
	d, err := time.ParseDuration(s)
	switch {
	case err != nil && isDuration.MatchString(s): // longer than a duration can be
		return fmt.Errorf("give a duration from %v to %v", f.min, f.max)
	case err != nil:
		return errors.New("give a number with a unit, for example 500ms, 10s or 2h")
	case d < f.min || d > f.max:
		return fmt.Errorf("give a duration from %v to %v", f.min, f.max)
	}
	*f.to = d
	return nil
}

// durationVar adds a flag for a duration of at least least.
func durationVar(fl *pflag.FlagSet, to *time.Duration, name string, def, least time.Duration, usage string) {
	*to = def
	fl.Var(durationFlag{to, least, longest}, name, usage)
}

type fractionFlag struct {
	to       *float64
	min, max float64
}

func (f fractionFlag) String() string {
	if f.to == nil {
		return "0"
	}
	return strconv.FormatFloat(*f.to, 'g', -1, 64)
}

func (f fractionFlag) Type() string { return "number" }

func (f fractionFlag) Set(s string) error {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n >= f.min && n <= f.max) {
		return fmt.Errorf("give a number, %g to %g", f.min, f.max)
	}
	*f.to = n
	return nil
}

// fractionVar adds a flag for a number that needn't be whole.
func fractionVar(fl *pflag.FlagSet, to *float64, name string, def, least, most float64, usage string) {
	*to = def
	fl.Var(fractionFlag{to, least, most}, name, usage)
}
