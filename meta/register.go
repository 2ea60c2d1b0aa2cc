package meta

import (
	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metaquorum"
	"pegasus/rpc"
)

// register adds all handlers to mux.
func (s *Server) register(mux *rpc.Mux) {
	mux.HandleFunc("RPC_FD_FAILURE_DETECTOR_PING", s.onBeacon)
	mux.HandleFunc("RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", s.onQueryConfig)
	mux.HandleFunc("RPC_CM_UPDATE_PARTITION_CONFIGURATION", s.onUpdate)
	const fast, slow = false, true
	onLeader(s, mux, "RPC_CM_CONFIG_SYNC", slow,
		func(r *metaadmin.ConfigurationQueryByNodeResponse, e base.ErrorCode) { r.Err = e }, (*call).configSync)

	onLeader(s, mux, "RPC_CM_CREATE_APP", slow,
		func(r *metaadmin.ConfigurationCreateAppResponse, e base.ErrorCode) { r.Err = e }, (*call).createApp)
	onLeader(s, mux, "RPC_CM_DROP_APP", slow,
		func(r *metaadmin.ConfigurationDropAppResponse, e base.ErrorCode) { r.Err = e }, (*call).dropApp)
	onLeader(s, mux, "RPC_CM_RECALL_APP", slow,
		func(r *metaadmin.ConfigurationRecallAppResponse, e base.ErrorCode) { r.Err, r.Info = e, noApp() }, (*call).recallApp)
	onLeader(s, mux, "RPC_CM_RENAME_APP", slow,
		func(r *metaadmin.ConfigurationRenameAppResponse, e base.ErrorCode) { r.Err = e }, (*call).renameApp)
	onLeader(s, mux, "RPC_CM_UPDATE_APP_ENV", slow,
		func(r *metaadmin.ConfigurationUpdateAppEnvResponse, e base.ErrorCode) { r.Err = e }, (*call).updateEnvs)
	onLeader(s, mux, "RPC_CM_START_MANUAL_COMPACT", slow,
		func(r *metaadmin.StartAppManualCompactResponse, e base.ErrorCode) { r.Err = e }, (*call).startCompaction)
	onLeader(s, mux, "RPC_CM_QUERY_MANUAL_COMPACT_STATUS", fast,
		func(r *metaadmin.QueryAppManualCompactResponse, e base.ErrorCode) { r.Err = e }, (*call).queryCompaction)
	onLeader(s, mux, "RPC_CM_GET_MAX_REPLICA_COUNT", fast,
		func(r *metaadmin.ConfigurationGetMaxReplicaCountResponse, e base.ErrorCode) { r.Err = e }, (*call).getMaxReplicas)
	onLeader(s, mux, "RPC_CM_SET_MAX_REPLICA_COUNT", slow,
		func(r *metaadmin.ConfigurationSetMaxReplicaCountResponse, e base.ErrorCode) { r.Err = e }, (*call).setMaxReplicas)
	onLeader(s, mux, "RPC_CM_GET_ATOMIC_IDEMPOTENT", fast,
		func(r *metaadmin.ConfigurationGetAtomicIdempotentResponse, e base.ErrorCode) { r.Err = e }, (*call).getAtomic)
	onLeader(s, mux, "RPC_CM_SET_ATOMIC_IDEMPOTENT", slow,
		func(r *metaadmin.ConfigurationSetAtomicIdempotentResponse, e base.ErrorCode) { r.Err = e }, (*call).setAtomic)

	onLeader(s, mux, "RPC_CM_LIST_APPS", fast,
		func(r *metaadmin.ConfigurationListAppsResponse, e base.ErrorCode) { r.Err = e }, (*call).listApps)
	onLeader(s, mux, "RPC_CM_LIST_NODES", fast,
		func(r *metaadmin.ConfigurationListNodesResponse, e base.ErrorCode) { r.Err = e }, (*call).listNodes)
	onLeader(s, mux, "RPC_CM_CLUSTER_INFO", fast,
		func(r *metaadmin.ConfigurationClusterInfoResponse, e base.ErrorCode) { r.Err = e }, (*call).clusterInfo)
	onLeader(s, mux, "RPC_CM_CONTROL_META", slow,
		func(r *metaadmin.ConfigurationMetaControlResponse, e base.ErrorCode) { r.Err = e }, (*call).controlMeta)
	onLeader(s, mux, "RPC_CM_PROPOSE_BALANCER", fast,
		func(r *metaadmin.ConfigurationBalancerResponse, e base.ErrorCode) { r.Err = e }, (*call).proposeBalancer)
	onLeader(s, mux, "RPC_CM_DDD_DIAGNOSE", fast,
		func(r *metaadmin.DddDiagnoseResponse, e base.ErrorCode) { r.Err = e }, (*call).diagnose)
	onLeader(s, mux, "RPC_CM_START_RECOVERY", slow,
		func(r *metaadmin.ConfigurationRecoveryResponse, e base.ErrorCode) { r.Err = e }, (*call).startRecovery)

	mux.HandleFunc("RPC_CM_QUORUM_STATUS", s.onQuorumStatus)
	onLeader(s, mux, "RPC_CM_QUORUM_CHANGE", slow,
		func(r *metaquorum.QuorumChangeResponse, e base.ErrorCode) { r.Err = e }, (*call).changeQuorum)
	onLeader(s, mux, "RPC_CM_QUORUM_BACKUP", slow,
		func(r *metaquorum.QuorumBackupResponse, e base.ErrorCode) { r.Err = e }, (*call).backupQuorum)
	s.registerPlacement(mux)
	s.registerAbsent(mux)
}
