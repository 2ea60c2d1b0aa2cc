package appenv

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Check says why a table isn't to be given a setting; "" means that the servers act on it, or keep
// it as their tools expect. It is stricter than Validate, which accepts all that upstream accepts.
func Check(key, value string) (hint string) {
	if strings.HasPrefix(key, restorePrefix) {
		return "" // the metas' own; who sets one is refused by Validate
	}
	if _, ok := known[key]; !ok {
		return unknown(key)
	}
	if hint := Validate(key, value); hint != "" {
		return hint
	}
	if key == CompactPeriodicTime {
		for f := range strings.SplitSeq(value, ",") {
			if len(TimesOfDay(f)) == 0 && trim(value) != "" {
				return fmt.Sprintf("%q is not a time of day: write HH:MM, separated by commas", f)
			}
		}
	}
	return ""
}

// unknown tells that there is no setting of that name, and which one may be meant.
func unknown(key string) string {
	for _, k := range slices.Sorted(maps.Keys(known)) {
		if key != "" && strings.HasSuffix(k, "."+key) || strings.EqualFold(k, key) {
			return fmt.Sprintf("unknown setting: did you mean %s?", k)
		}
	}
	return "unknown setting; `pegasus table env help` lists them"
}
