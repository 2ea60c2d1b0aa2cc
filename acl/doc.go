// Package acl says what each request needs, and whether who sends it may.
//
// It owns the list of what requests, pages and remote commands need (needs.go), and the decision
// (policy.go). It is pure: a decision depends on its arguments alone.
//
// Invariants:
//   - each request name, page and remote command of a server has an entry, which tests check; what has
//     none needs Control;
//   - what only servers of the cluster may send is refused to everybody else as soon as servers
//     prove that they are some.
//
// It must not know how somebody proves who he is (package auth does), nor what a request carries.
package acl
