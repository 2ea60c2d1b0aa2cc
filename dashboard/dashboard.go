package dashboard

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"net/http"
	"strings"

	"pegasus/base"
)

//go:embed web
var web embed.FS

// Options say what the pages are about.
type Options struct {
	Cluster string   // its name
	Metas   []string // host:port, as configured; those that they name are asked, too
	Version string   // of the program
}

// Dashboard is an http.Handler for /dashboard and everything below it.
type Dashboard struct {
	o       Options
	s       Source
	answers *answers
	pages   map[string]*template.Template
	mux     *http.ServeMux
}

// menu are the pages that each page leads to.
var menu = []struct{ Path, Name string }{
	{"/dashboard/", "Overview"}, {"/dashboard/servers", "Servers"}, {"/dashboard/tables", "Tables"}, {"/dashboard/work", "Work"}, {"/dashboard/slow", "Slow requests"},
	{"/dashboard/quorum", "Metas"}, {"/dashboard/events", "Events"},
}

// New returns the dashboard of the cluster that s answers for.
func New(s Source, o Options) *Dashboard {
	d := &Dashboard{o: o, s: s, answers: newAnswers(s, o.Metas), pages: map[string]*template.Template{}, mux: http.NewServeMux()}
	for _, name := range []string{"overview", "servers", "server", "tables", "table", "hot", "work", "slow", "quorum", "events", "problem"} {
		d.pages[name] = template.Must(template.New("layout.html").Funcs(functions).ParseFS(web, "web/layout.html", "web/parts.html", "web/"+name+".html"))
	}
	for pattern, make := range map[string]func(*http.Request) (page, error){
		"GET /dashboard/{$}":               d.overview,
		"GET /dashboard/servers":           d.servers,
		"GET /dashboard/servers/{address}": d.server,
		"GET /dashboard/tables":            d.tables,
		"GET /dashboard/tables/{name}":     d.table,
		"GET /dashboard/hot/{name}":        d.hot,
		"GET /dashboard/work":              d.work,
		"GET /dashboard/slow":              d.slow,
		"GET /dashboard/quorum":            d.quorum,
		"GET /dashboard/events":            d.events,
	} {
		d.mux.HandleFunc(pattern, func(w http.ResponseWriter, q *http.Request) {
			p, err := make(q)
			d.show(w, q, p, err)
		})
	}
	for action, do := range map[string]func(context.Context, *http.Request) (string, error){
		"rebalance": d.doRebalance, "role": d.doRole, "setting": d.doSetting, "backup": d.doBackup,
	} {
		d.mux.Handle("POST /dashboard/do/"+action, sameOrigin.Handler(d.change(do)))
	}
	d.mux.Handle("GET /dashboard", http.RedirectHandler("/dashboard/", http.StatusMovedPermanently))
	for name, kind := range map[string]string{"style.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8"} {
		b, err := web.ReadFile("web/" + name)
		if err != nil {
			panic(err) // it is part of the program
		}
		d.mux.HandleFunc("GET /dashboard/"+name, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Cache-Control", "max-age=300")
			w.Write(b)
		})
	}
	return d
}

// page is what a template shows.
type page struct {
	name  string // of the template
	Title string
	Data  any
	// What every page has.
	Cluster, Version, At, Said string
	Menu                       any
	// Why nothing may be changed from here, "" if it may.
	Fixed string
}

// errAbsent is returned for a page about something that isn't there.
var errAbsent = errors.New("there is no such thing")

// ServeHTTP answers a request.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	d.mux.ServeHTTP(w, q)
}

// show writes a page, or what went wrong.
func (d *Dashboard) show(w http.ResponseWriter, q *http.Request, p page, err error) {
	status := http.StatusOK
	if err != nil {
		status = http.StatusBadGateway
		if errors.Is(err, errAbsent) || errors.Is(err, base.ErrObjectNotFound) || errors.Is(err, base.ErrAppNotExist) {
			status = http.StatusNotFound
		}
		p = page{name: "problem", Title: "Not shown", Data: err.Error()}
	}
	p.Cluster, p.Version, p.Menu, p.At, p.Fixed = d.o.Cluster, d.o.Version, menu, q.URL.Path, mayChange(q)
	if p.Said == "" {
		p.Said = q.URL.Query().Get("said")
	}
	var b bytes.Buffer
	if err := d.pages[p.name].Execute(&b, &p); err != nil {
		http.Error(w, "the page can't be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

// maxForm is the longest body of a form.
const maxForm = 64 << 10

// change answers a form: it does what it asks for, and leads back to the page that it came from.
func (d *Dashboard) change(do func(context.Context, *http.Request) (string, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if why := mayChange(q); why != "" {
			http.Error(w, why, http.StatusForbidden)
			return
		}
		q.Body = http.MaxBytesReader(w, q.Body, maxForm)
		if err := q.ParseForm(); err != nil {
			http.Error(w, "the form can't be read: "+err.Error(), http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(q.Context(), changeTime)
		defer cancel()
		said, err := do(ctx, q)
		d.answers.forget()
		if err != nil {
			d.show(w, q, page{name: "problem", Title: "Not done", Data: err.Error()}, nil)
			return
		}
		back := q.PostForm.Get("back")
		if !strings.HasPrefix(back, "/dashboard/") || strings.ContainsAny(back, "?#\\\r\n") {
			back = "/dashboard/"
		}
		http.Redirect(w, q, back+"?"+saidArg(said), http.StatusSeeOther)
	})
}
