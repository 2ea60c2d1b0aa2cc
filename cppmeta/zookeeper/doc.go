// Package zookeeper fetches the nodes of a C++ cluster from ZooKeeper.
//
// It owns what is asked of ZooKeeper, and how long that may take. It writes nothing there. What the nodes mean is
// package cppmeta's.
package zookeeper
