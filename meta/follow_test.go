package meta

import (
	"testing"

	"pegasus/base"
)

// What another cluster hears that wants a table to follow its own, as upstream answers.
func TestFollowed(t *testing.T) {
	is := func(cluster, status string) follower { return follower{cluster, status, true} }
	silent := func(cluster string) follower { return follower{cluster: cluster} }
	for i, c := range []struct {
		asks, is follower
		want     base.ErrorCode
		set      bool
	}{
		{is("a", "creating"), silent(""), base.ErrAppExist, false},
		{is("a", "creating"), is("b", "creating"), base.ErrAppExist, false},
		{silent("a"), is("a", "creating"), base.ErrAppExist, false},
		{silent("a"), silent("a"), base.ErrAppExist, false},
		{is("a", "creating"), silent("a"), base.ErrInvalidState, false},
		{is("a", "creating"), is("a", "creating"), base.ErrOK, false},
		{is("a", "created"), is("a", "creating"), base.ErrOK, true},
		{is("a", "created"), is("a", "created"), base.ErrOK, false},
		{is("a", "creating"), is("a", "created"), base.ErrAppExist, false},
		{is("a", "other"), is("a", "creating"), base.ErrInvalidParameters, false},
		{is("a", "other"), is("a", "created"), base.ErrInvalidParameters, false},
		{is("a", "creating"), is("a", "other"), base.ErrInvalidParameters, false},
	} {
		code, set, hint := followed(c.asks, c.is)
		if code != c.want || set != c.set || (hint == "") != (code == base.ErrOK) {
			t.Errorf("%d: %+v, there is %+v: %v, %t, %q", i, c.asks, c.is, code, set, hint)
		}
	}
}
