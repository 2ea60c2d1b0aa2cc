package httpapi

import (
	"compress/gzip"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Arg is one argument of a query, in the order of the request. One without "=" has no value.
type Arg struct{ Name, Value string }

// Request is a request for a page.
type Request struct {
	*http.Request
	Path string // without leading and empty segments
	Args []Arg
}

// Asker names who asks, for the log: its address, and what it says of itself if it does. Nobody has
// checked that.
func (r *Request) Asker() string {
	if who := r.UserAgent(); who != "" {
		return fmt.Sprintf("%s (%.100q)", r.RemoteAddr, who)
	}
	return r.RemoteAddr
}

// Get returns an argument's value, "" if it isn't there.
func (r *Request) Get(name string) string {
	for _, a := range r.Args {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// Has tells whether an argument is there.
func (r *Request) Has(name string) bool {
	return slices.ContainsFunc(r.Args, func(a Arg) bool { return a.Name == name })
}

// Only tells whether there are no arguments but those named.
func (r *Request) Only(names ...string) bool {
	return !slices.ContainsFunc(r.Args, func(a Arg) bool { return !slices.Contains(names, a.Name) })
}

// Response is a page. The zero Status is 200, the empty Type text/plain.
type Response struct {
	Status   int
	Type     string
	Location string
	Body     []byte
	Gzip     bool // send it so if the client takes it
}

// Text returns a page of plain text.
func Text(status int, text string) Response { return Response{Status: status, Body: []byte(text)} }

// JSON returns a page that is v, with a newline behind.
func JSON(v any) Response {
	b, err := marshal(v)
	if err != nil {
		return Text(http.StatusInternalServerError, err.Error())
	}
	return Response{Body: append(b, '\n')}
}

// Page makes a Response.
type Page func(*Request) Response

// Router finds the page of a path. Pages are added before it serves.
type Router struct {
	pages map[string]page
	raw   map[string]http.Handler
	front string // where a browser that asks for "/" is led to, "" nowhere
	busy  busy
}

type page struct {
	help  string
	serve Page
}

// NewRouter returns a Router with the list of paths at "/".
func NewRouter() *Router {
	r := &Router{pages: map[string]page{}, raw: map[string]http.Handler{}}
	r.Page("", "List all supported calls.", r.list)
	return r
}

// Page adds a page at a path without a leading slash.
func (r *Router) Page(path, help string, p Page) { r.pages[path] = page{help, p} }

// Raw has h serve path and everything below it.
func (r *Router) Raw(path string, h http.Handler) { r.raw[path] = h }

// Front leads browsers that ask for "/" to path. Others still get the list of paths.
func (r *Router) Front(path string) { r.front = path }

// list shows the paths. The values are empty, as upstream's are in a release build.
func (r *Router) list(q *Request) Response {
	if r.front != "" && strings.Contains(q.Header.Get("Accept"), "text/html") {
		return Response{Status: http.StatusFound, Location: r.front}
	}
	var o Object
	for path := range r.pages {
		o.Add("/"+path, "")
	}
	slices.SortFunc(o, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return JSON(o)
}

// Help returns each path with what it is for.
func (r *Router) Help() map[string]string {
	m := map[string]string{}
	for path, p := range r.pages {
		m["/"+path] = p.help
	}
	return m
}

// ServeHTTP answers a request.
func (r *Router) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	segments := slices.DeleteFunc(strings.Split(q.URL.Path, "/"), func(s string) bool { return s == "" })
	for n := len(segments); n > 0; n-- {
		if h := r.raw[strings.Join(segments[:n], "/")]; h != nil {
			h.ServeHTTP(w, q)
			return
		}
	}
	r.Few(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		p := r.serve(q, strings.Join(segments, "/"))
		p.Gzip = p.Gzip && strings.Contains(q.Header.Get("Accept-Encoding"), "gzip")
		write(w, p)
	})).ServeHTTP(w, q)
}

func (r *Router) serve(q *http.Request, path string) Response {
	if q.Method != http.MethodGet && q.Method != http.MethodPost {
		return Text(http.StatusMethodNotAllowed, "please use GET or POST")
	}
	args, why := parseArgs(q.URL.RawQuery)
	if why != "" {
		return Text(http.StatusBadRequest, "failed to parse request: "+why)
	}
	p, ok := r.pages[path]
	if !ok {
		return Text(http.StatusNotFound, `service not found for "`+path+`"`)
	}
	return p.serve(&Request{Request: q, Path: path, Args: args})
}

func parseArgs(query string) (args []Arg, why string) {
	for _, s := range strings.Split(query, "&") {
		if s == "" {
			continue
		}
		n, v, _ := strings.Cut(s, "=")
		name, err := url.QueryUnescape(n)
		if err != nil {
			return nil, "ERR_INVALID_PARAMETERS: " + err.Error()
		}
		value, err := url.QueryUnescape(v)
		if err != nil {
			return nil, "ERR_INVALID_PARAMETERS: " + err.Error()
		}
		if slices.ContainsFunc(args, func(a Arg) bool { return a.Name == name }) {
			return nil, "ERR_INVALID_PARAMETERS: duplicate parameter: " + name
		}
		args = append(args, Arg{name, value})
	}
	return args, ""
}

func write(w http.ResponseWriter, p Response) {
	h := w.Header()
	if p.Type == "" {
		p.Type = "text/plain"
	}
	h.Set("Content-Type", p.Type)
	h.Set("X-Content-Type-Options", "nosniff")
	if p.Location != "" {
		h.Set("Location", p.Location)
	}
	if p.Status == 0 {
		p.Status = http.StatusOK
	}
	if p.Gzip {
		h.Set("Content-Encoding", "gzip")
		w.WriteHeader(p.Status)
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		z.Write(p.Body)
		z.Close()
		return
	}
	w.WriteHeader(p.Status)
	w.Write(p.Body)
}
