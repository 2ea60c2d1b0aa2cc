package appenv

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pegasus/base"
)

type object map[string]any

func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// ops makes the value of one operation with one rule.
func ops(kind, params, rule, ruleParams string) string {
	return jsonText(object{"ops": []any{object{"type": kind, "params": params, "rules": []any{object{"type": rule, "params": ruleParams}}}}})
}

const (
	anyHash  = `{"pattern":"h","match_type":"SMT_MATCH_ANYWHERE"}`
	rangeTTL = `{"start_ttl":10,"stop_ttl":20}`
)

func TestParseOperations(t *testing.T) {
	one := func(o Operation, r RowRule) []Operation { o.Rules = []RowRule{r}; return []Operation{o} }
	for _, c := range []struct {
		value string
		want  []Operation
	}{
		{"", nil},
		{`{"ops":[]}`, []Operation{}},
		{ops("COT_DELETE", "", "FRT_HASHKEY_PATTERN", anyHash), one(Operation{}, RowRule{Pattern: "h"})},
		{ops("COT_DELETE", "rubbish", "FRT_SORTKEY_PATTERN", `{"pattern":"","match_type":"SMT_MATCH_POSTFIX"}`), one(Operation{}, RowRule{Kind: SortKeyPattern, Match: MatchPostfix})},
		{ops("COT_UPDATE_TTL", `{"type":"UTOT_FROM_NOW","value":7}`, "FRT_TTL_RANGE", rangeTTL), one(Operation{Kind: ExpireFromNow, Value: 7}, RowRule{Kind: TTLRange, From: 10, To: 20})},
		{ops("COT_UPDATE_TTL", `{"type":"UTOT_FROM_CURRENT","value":0}`, "FRT_HASHKEY_PATTERN", `{"pattern":"h","match_type":"SMT_MATCH_PREFIX"}`), one(Operation{Kind: ExpireFromCurrent}, RowRule{Match: MatchPrefix, Pattern: "h"})},
		{ops("COT_UPDATE_TTL", `{"type":"UTOT_TIMESTAMP","value":1700000000}`, "FRT_HASHKEY_PATTERN", anyHash), one(Operation{Kind: ExpireAt, Value: 1700000000}, RowRule{Pattern: "h"})},
	} {
		got, err := ParseOperations(c.value)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v %v, want %+v", c.value, got, err, c.want)
		}
		if hint := Validate(UserCompaction, c.value); hint != "" {
			t.Errorf("%s is refused: %s", c.value, hint)
		}
	}
}

// Each malformed value is refused when it is set, with what is wrong in the hint, and taken
// for not set where it is stored already.
func TestMalformedOperations(t *testing.T) {
	for _, c := range []struct{ value, hint string }{
		{"rubbish", "not the JSON"},
		{`{"ops":[`, "not the JSON"},
		{`[]`, "not the JSON"},
		{`{}`, "ops is missing"},
		{`{"ops":null}`, "ops is missing"},
		{`{"ops":{}}`, "not the JSON"},
		{`{"ops":[]} x`, "not the JSON"},
		{jsonText(object{"ops": []any{object{"type": "COT_DELETE", "params": ""}}}), "no rules"},
		{ops("COT_NOSUCH", "", "FRT_HASHKEY_PATTERN", anyHash), `type "COT_NOSUCH"`},
		{ops("COT_UPDATE_TTL", "", "FRT_HASHKEY_PATTERN", anyHash), "operation 1: params"},
		{ops("COT_UPDATE_TTL", `{"type":"UTOT_NOSUCH","value":1}`, "FRT_HASHKEY_PATTERN", anyHash), "type is not UTOT"},
		{ops("COT_UPDATE_TTL", `{"type":"UTOT_FROM_NOW"}`, "FRT_HASHKEY_PATTERN", anyHash), "value is missing"},
		{ops("COT_UPDATE_TTL", `{"type":"UTOT_FROM_NOW","value":-1}`, "FRT_HASHKEY_PATTERN", anyHash), "params"},
		{ops("COT_UPDATE_TTL", `{"type":"UTOT_FROM_NOW","value":4294967296}`, "FRT_HASHKEY_PATTERN", anyHash), "params"},
		{ops("COT_UPDATE_TTL", `{"type":"UTOT_FROM_NOW","value":"x"}`, "FRT_HASHKEY_PATTERN", anyHash), "params"},
		{ops("COT_UPDATE_TTL", `{"type":"UTOT_TIMESTAMP","value":1451606400}`, "FRT_HASHKEY_PATTERN", anyHash), "before 1451606401"},
		{ops("COT_DELETE", "", "FRT_NOSUCH", anyHash), `type "FRT_NOSUCH"`},
		{ops("COT_DELETE", "", "FRT_HASHKEY_PATTERN", ""), "rule 1: params"},
		{ops("COT_DELETE", "", "FRT_HASHKEY_PATTERN", `{"match_type":"SMT_MATCH_PREFIX"}`), "pattern is missing"},
		{ops("COT_DELETE", "", "FRT_HASHKEY_PATTERN", `{"pattern":"x"}`), "match_type is not"},
		{ops("COT_DELETE", "", "FRT_SORTKEY_PATTERN", `{"pattern":"x","match_type":"SMT_NOSUCH"}`), "match_type is not"},
		{ops("COT_DELETE", "", "FRT_TTL_RANGE", anyHash), "start_ttl or stop_ttl is missing"},
		{ops("COT_DELETE", "", "FRT_TTL_RANGE", `{"start_ttl":1}`), "start_ttl or stop_ttl is missing"},
		{ops("COT_DELETE", "", "FRT_TTL_RANGE", `{"start_ttl":-1,"stop_ttl":2}`), "params"},
	} {
		_, err := ParseOperations(c.value)
		if !errors.Is(err, base.ErrInvalidParameters) || !strings.Contains(err.Error(), c.hint) {
			t.Errorf("%s: %v, want %q in it", c.value, err, c.hint)
		}
		if hint := Validate(UserCompaction, c.value); !strings.Contains(hint, c.hint) {
			t.Errorf("%s: hint %q, want %q in it", c.value, hint, c.hint)
		}
		s, bad := Parse(map[string]string{UserCompaction: c.value})
		if len(bad) != 1 || s.Operations != "" {
			t.Errorf("%s: stored it is taken for %q, %v", c.value, s.Operations, bad)
		}
	}
}

func TestRowRuleMatches(t *testing.T) {
	for _, c := range []struct {
		match        Match
		pattern, key string
		want         bool
	}{
		{MatchAnywhere, "", "key", false}, {MatchPrefix, "", "", false},
		{MatchAnywhere, "b", "abc", true}, {MatchAnywhere, "x", "abc", false},
		{MatchPrefix, "ab", "abc", true}, {MatchPrefix, "bc", "abc", false}, {MatchPrefix, "abcd", "abc", false},
		{MatchPostfix, "bc", "abc", true}, {MatchPostfix, "ab", "abc", false}, {MatchPostfix, "0abc", "abc", false},
	} {
		r := RowRule{Match: c.match, Pattern: c.pattern}
		if got := r.Matches([]byte(c.key)); got != c.want {
			t.Errorf("%v %q in %q: %t", c.match, c.pattern, c.key, got)
		}
	}
}

func FuzzParseOperations(f *testing.F) {
	f.Add(ops("COT_UPDATE_TTL", `{"type":"UTOT_FROM_NOW","value":7}`, "FRT_TTL_RANGE", rangeTTL))
	f.Add(ops("COT_DELETE", "", "FRT_HASHKEY_PATTERN", anyHash))
	f.Add(`{"ops":[{"type":"COT_DELETE"}]}`)
	f.Fuzz(func(t *testing.T, value string) {
		got, err := ParseOperations(value)
		if (err == nil) != (checkOperations(value) == "") {
			t.Fatalf("%q: parsed with %v, checked otherwise", value, err)
		}
		for _, o := range got {
			if len(o.Rules) == 0 {
				t.Fatalf("%q: an operation without rules", value)
			}
		}
	})
}
