/** Whether all cases are to run, as in `npm run test:chaos`, and not a choice of them, as in `npm test`. */
export const isLong = process.env.MILLRACE_CHAOS_ROUNDS !== undefined;
