package dashboard

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// pageRows is how many rows of a list a page shows.
const pageRows = 100

// list is a part of a long list: what was asked for by the arguments q (a text that names contain), sort and page.
type list struct {
	Query, Sort         string
	Page, Pages         int
	Shown, Found, Total int
	Columns             []string // by which it can be sorted
	at                  string   // path of the page
}

// Link returns the address of another page, or with another order.
func (l *list) Link(page int, sort string) string {
	v := url.Values{}
	if l.Query != "" {
		v.Set("q", l.Query)
	}
	if sort != "" {
		v.Set("sort", sort)
	}
	if page > 1 {
		v.Set("page", strconv.Itoa(page))
	}
	if len(v) == 0 {
		return l.at
	}
	return l.at + "?" + v.Encode()
}

// order is a column by which a list can be sorted.
type order[T any] struct {
	name    string
	compare func(a, b *T) int
}

// cut returns the rows of a list that a request asks for. The first order is the usual one.
func cut[T any](q *http.Request, rows []T, name func(*T) string, orders []order[T]) ([]T, *list) {
	args := q.URL.Query()
	l := &list{Query: strings.TrimSpace(args.Get("q")), Total: len(rows), at: q.URL.Path}
	if len(l.Query) > 200 {
		l.Query = l.Query[:200]
	}
	rows = slices.Clone(rows)
	if l.Query != "" {
		rows = slices.DeleteFunc(rows, func(r T) bool { return !strings.Contains(name(&r), l.Query) })
	}
	by := orders[0]
	for _, o := range orders {
		l.Columns = append(l.Columns, o.name)
		if o.name == args.Get("sort") {
			by, l.Sort = o, o.name
		}
	}
	slices.SortStableFunc(rows, func(a, b T) int { return by.compare(&a, &b) })
	l.Found = len(rows)
	l.Pages = max(1, (len(rows)+pageRows-1)/pageRows)
	l.Page, _ = strconv.Atoi(args.Get("page"))
	l.Page = min(max(1, l.Page), l.Pages)
	rows = rows[(l.Page-1)*pageRows:]
	rows = rows[:min(len(rows), pageRows)]
	l.Shown = len(rows)
	return rows, l
}
