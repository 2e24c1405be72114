export interface RawCheck { readonly name: string; readonly run: (brokers: readonly string[]) => Promise<string> }
export const RAW_CHECKS: readonly RawCheck[] = []
