import { entriesAdapter, plainSql } from '../entries-adapter.ts'

export const entries = entriesAdapter(2, plainSql)
