/** Backups of a cluster, and restoring them: a Kafka client on one side, a folder of checked files on the other. */
export { ClusterClient } from './cluster-client.ts'
export * from './errors.ts'
export { BackupFolder } from './folder.ts'
export type * from './manifest.ts'
export { pickFrom, verifyTopics } from './plan.ts'
export type * from './progress.ts'
export { RESTORE_DEFAULTS, type RestoreReport, restoreBackup } from './restoring.ts'
export { BACKUP_DEFAULTS, takeBackup } from './taking.ts'
