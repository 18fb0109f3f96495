import { entriesAdapter, plainSql } from '../entries-adapter.ts'

export const entries = entriesAdapter(1, plainSql)
