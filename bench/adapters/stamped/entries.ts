import { entriesAdapter, stampedSql } from '../entries-adapter.ts'

export const entries = entriesAdapter(1, stampedSql)
